#include "failing_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fault fault;

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

/* A converter is another process, which knows of no fault: its file says it. Its box is closed to
 * the system call that is libc's fstat(). NOLINTNEXTLINE(readability-inconsistent-declaration-*) */
int fdatasync(int fd)
{
    struct stat status = {0};
    while (syscall(SYS_fstat, fd, &status) == 0 && (status.st_mode & S_IXOTH))
        ;
    if ((status.st_mode & S_ISVTX) && fail(EIO))
        return -1;
    return (int)syscall(SYS_fdatasync, fd);
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
int unlinkat(int fd, const char *name, int flags)
{
    if (fault == ONE_SLOW_UNLINK) {
        fault = SOUND;
        sleep(6);
    }
    return (int)syscall(SYS_unlinkat, fd, name, flags);
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
