/* The calls below stand before libc's in this program: a file system that fails as told. */
#include "database.h"

#include "store/blobdir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum fault {
    SOUND,
    NO_FILE_FSYNC,
    NO_DIRECTORY_FSYNC,
    NO_LINK,
    LINK_OVER,
    NO_RENAME,
    RENAME_COPIES
};
static enum fault fault;

static bool fail(int code)
{
    errno = code;
    return true;
}

static bool is_directory(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

int fsync(int fd)
{
    /* Converters of other tests call this, too, and may not look at files. */
    bool is_told = fault == NO_FILE_FSYNC || fault == NO_DIRECTORY_FSYNC;
    if (is_told && is_directory(fd) == (fault == NO_DIRECTORY_FSYNC) && fail(EINVAL))
        return -1;
    return (int)syscall(SYS_fsync, fd);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    if (fault == NO_LINK && fail(EPERM))
        return -1;
    long done = syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    return fault == LINK_OVER ? 0 : (int)done;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (fault == NO_RENAME && fail(EXDEV))
        return -1;
    if (fault == RENAME_COPIES)
        return 0;
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

static char root[64];
static struct blobdir *blobdir;
static struct error error;

static void setup(void)
{
    scratch_make(root);
    blobdir = blobdir_open(root, "node-one", &error);
    cr_assert_not_null(blobdir, "%s", error.message);
}

static void teardown(void)
{
    fault = SOUND;
    blobdir_close(blobdir);
    scratch_remove(root);
}

TestSuite(blobdir_probe, .init = setup, .fini = teardown);

Test(blobdir_probe, a_sound_file_system_passes_and_nothing_is_left)
{
    char path[128];
    cr_assert(blobdir_probe(blobdir, &error), "%s", error.message);
    snprintf(path, sizeof(path), "%s/tmp/node-one", root);
    cr_expect_eq(rmdir(path), 0, "tmp/node-one is empty: %s", strerror(errno));
}

Test(blobdir_probe, what_a_file_system_cannot_do_is_told)
{
    static const struct {
        enum fault fault;
        const char *words;
    } rows[] = {
        {NO_FILE_FSYNC, "fsync of a file fails"},
        {NO_DIRECTORY_FSYNC, "fsync of a directory fails"},
        {NO_LINK, "link(2) fails"},
        {LINK_OVER, "a name that is taken"},
        {NO_RENAME, "rename(2) over a file fails"},
        {RENAME_COPIES, "leaves the old name"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fault = rows[i].fault;
        error = (struct error){0};
        cr_expect_not(blobdir_probe(blobdir, &error), "refused: %s", rows[i].words);
        fault = SOUND;
        cr_expect_not_null(strstr(error.message, rows[i].words), "says \"%s\": %s", rows[i].words,
                           error.message);
        cr_expect(blobdir_probe(blobdir, &error), "nothing is in the way: %s", error.message);
    }
}
