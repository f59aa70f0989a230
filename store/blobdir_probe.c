/* Does the file system do what is relied on? Asked once at a node's start: a FUSE or network file
 * system that does not would lose files only later, when nobody looks. */
#include "store/blobdir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { PROBE_BYTES = 8192 };

struct probe {
    int tmp_fd;
    int directory;     /* tmp/<node>/ */
    const char *draft; /* its path within tmp/ */
};

static const char target[] = "probe";
static const char other[] = "probe-2";

static bool refuse(struct error *error, int os_errno, const char *what)
{
    return error_set_errno(error, ERROR_INTERNAL, os_errno,
                           "the file system of the blob directory cannot be used: %s", what);
}

static void fill(char bytes[PROBE_BYTES], char seed)
{
    for (size_t i = 0; i < PROBE_BYTES; i++)
        bytes[i] = (char)(seed + (char)(i % 61));
}

static bool write_all(int fd, char seed, struct error *error)
{
    char bytes[PROBE_BYTES];
    fill(bytes, seed);
    ssize_t written = pwrite(fd, bytes, sizeof(bytes), 0);
    if (written != (ssize_t)sizeof(bytes)) /* only a full disk takes a part */
        return refuse(error, written < 0 ? errno : ENOSPC, "a file cannot be written");
    return fsync(fd) == 0 || refuse(error, errno, "fsync of a file fails");
}

static bool holds(struct probe *probe, const char *name, char seed, struct error *error)
{
    char expected[PROBE_BYTES];
    char found[PROBE_BYTES];
    fill(expected, seed);
    cleanup_fd int fd = openat(probe->directory, name, O_RDONLY | O_CLOEXEC);
    return (fd >= 0 && pread(fd, found, sizeof(found), 0) == (ssize_t)sizeof(found) &&
            memcmp(found, expected, sizeof(found)) == 0) ||
           refuse(error, 0, "what was written is not what is read back");
}

/* A name that is taken stays with its file, for link(2) and for O_EXCL. */
static bool check_names(struct probe *probe, struct error *error)
{
    if (linkat(probe->tmp_fd, probe->draft, probe->directory, target, 0) < 0)
        return refuse(error, errno, "link(2) fails");
    if (linkat(probe->tmp_fd, probe->draft, probe->directory, target, 0) == 0 || errno != EEXIST)
        return refuse(error, 0, "link(2) to a name that is taken does not say so");
    cleanup_fd int fd =
        openat(probe->directory, target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return (fd < 0 && errno == EEXIST) ||
           refuse(error, 0, "O_EXCL opens a file that is there already");
}

static bool check_rename(struct probe *probe, struct error *error)
{
    cleanup_fd int fd =
        openat(probe->directory, other, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return refuse(error, errno, "a file cannot be made");
    bool good = write_all(fd, 'b', error);
    if (good && renameat(probe->directory, other, probe->directory, target) < 0)
        good = refuse(error, errno, "rename(2) over a file fails");
    if (good && faccessat(probe->directory, other, F_OK, 0) == 0)
        good = refuse(error, 0, "rename(2) leaves the old name");
    if (!good)
        unlinkat(probe->directory, other, 0);
    return good && holds(probe, target, 'b', error);
}

static bool check_directory(struct probe *probe, int draft_fd, struct error *error)
{
    bool good = write_all(draft_fd, 'a', error) && check_names(probe, error) &&
                holds(probe, target, 'a', error) && check_rename(probe, error);
    unlinkat(probe->directory, target, 0);
    if (!good)
        return false;
    return fsync(probe->directory) == 0 || refuse(error, errno, "fsync of a directory fails");
}

static bool probe_all(struct blobdir *blobdir, struct error *error)
{
    struct blob_draft *draft = blob_scratch_new(blobdir, error);
    if (!draft)
        return false;
    cleanup_fd int directory =
        openat(blobdir->tmp_fd, blobdir->node_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct probe probe = {
        .tmp_fd = blobdir->tmp_fd, .directory = directory, .draft = blob_draft_name(draft)};
    bool good = directory >= 0 ? check_directory(&probe, blob_draft_fd(draft), error)
                               : refuse(error, errno, "a directory that was made is not there");
    blob_draft_free(draft);
    return good;
}

/* A full disk shows nothing either way, and only a node that runs can make room. */
bool blobdir_probe(struct blobdir *blobdir, struct error *error)
{
    return probe_all(blobdir, error) || error->code == ERROR_STORAGE_FULL;
}
