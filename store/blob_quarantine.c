/* Files that are not what they should be, put aside for a person to look at. */
#include "store/blobdir_internal.h"
#include "store/crash_point.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { STAMP_SIZE = 64 };

/* "20260131T235959.123456Z-layers": when, and from where. */
static void format_stamp(enum blob_kind kind, char stamp[STAMP_SIZE])
{
    struct timespec now;
    struct tm broken;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &broken);
    size_t used = strftime(stamp, STAMP_SIZE, "%Y%m%dT%H%M%S", &broken);
    snprintf(stamp + used, STAMP_SIZE - used, ".%06ldZ-%s", now.tv_nsec / 1000,
             blob_kinds[kind].directory);
}

/* mkdir is what makes the place ours alone, on any file system. */
static int make_place(int quarantine, enum blob_kind kind, char stamp[STAMP_SIZE],
                      struct error *error)
{
    do {
        format_stamp(kind, stamp);
        if (mkdirat(quarantine, stamp, 0755) == 0) {
            int fd = openat(quarantine, stamp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
            if (fd >= 0)
                return fd;
        }
    } while (errno == EEXIST);
    (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot make \"quarantine/%s\"", stamp);
    return -1;
}

static int open_quarantine(struct blobdir *blobdir, struct error *error)
{
    if (mkdirat(blobdir->fd, "quarantine", 0755) == 0 &&
        !blobdir_sync_fd(blobdir->fd, "blob directory", error))
        return -1;
    int fd = openat(blobdir->fd, "quarantine", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        (void)error_set_errno(error, ERROR_INTERNAL, errno,
                              "cannot open \"quarantine\" in the blob directory");
    return fd;
}

bool blob_quarantine(struct blobdir *blobdir, enum blob_kind kind, const char *name,
                     struct arena *arena, const char **path, struct error *error)
{
    const char *directory = blob_kinds[kind].directory;
    char stamp[STAMP_SIZE];
    cleanup_fd int quarantine = open_quarantine(blobdir, error);
    cleanup_fd int place = quarantine < 0 ? -1 : make_place(quarantine, kind, stamp, error);
    if (place < 0)
        return false;
    CRASH_POINT(QUARANTINE_BEGUN);
    if (renameat(blobdir->kind_fds[kind], name, place, name) < 0) {
        bool is_gone = errno == ENOENT;
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "cannot move \"%s/%s\" to quarantine",
                              directory, name);
        unlinkat(quarantine, stamp, AT_REMOVEDIR);
        *path = NULL;
        return is_gone;
    }
    CRASH_POINT(QUARANTINE_RENAMED);
    *path = arena_printf(arena, "quarantine/%s/%s", stamp, name);
    /* Where it is now first: a crash between the two leaves both names, never none. */
    if (!blobdir_sync_fd(place, *path, error) ||
        !blobdir_sync_fd(quarantine, "quarantine", error) ||
        !blobdir_sync_fd(blobdir->kind_fds[kind], directory, error))
        return false;
    CRASH_POINT(QUARANTINE_DONE);
    return true;
}
