/* The program's own definitions come before those of the C library. */
#include "tests/unit/failing_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int failing_disk_look;
int failing_disk_read;

int fstatat(int fd, const char *restrict file, struct stat *restrict buf, int flag)
{
    if (failing_disk_look) {
        errno = failing_disk_look;
        return -1;
    }
    return (int)syscall(SYS_newfstatat, fd, file, buf, flag);
}

ssize_t pread(int fd, void *buf, size_t nbytes, off_t offset)
{
    if (failing_disk_read) {
        errno = failing_disk_read;
        return -1;
    }
    return syscall(SYS_pread64, fd, buf, nbytes, offset);
}

ssize_t read(int fd, void *buf, size_t nbytes)
{
    struct stat stat;
    if (failing_disk_read && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode)) {
        errno = failing_disk_read;
        return -1;
    }
    return syscall(SYS_read, fd, buf, nbytes);
}

/* What _FORTIFY_SOURCE makes of calls when it knows the buffer's size, and not that it suffices. */
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*,readability-redundant-declaration)
ssize_t __pread_chk(int fd, void *buf, size_t nbytes, off_t offset, size_t bufsize);
ssize_t __read_chk(int fd, void *buf, size_t nbytes, size_t buflen);

ssize_t __pread_chk(int fd, void *buf, size_t nbytes, off_t offset, size_t bufsize)
{
    if (nbytes > bufsize)
        abort();
    return pread(fd, buf, nbytes, offset);
}

ssize_t __read_chk(int fd, void *buf, size_t nbytes, size_t buflen)
{
    if (nbytes > buflen)
        abort();
    return read(fd, buf, nbytes);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl*,readability-redundant-declaration)
