/* Files that a target writes and reads again: made once, in memory, and empty at each
 * execution. */
#ifndef LARDER_TESTS_FUZZ_SCRATCH_FILE_H
#define LARDER_TESTS_FUZZ_SCRATCH_FILE_H

#include <assert.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SCRATCH_FILES = 8 };

/* The descriptor stays ours. */
static inline int scratch_file(size_t number)
{
    static int made[SCRATCH_FILES]; /* one more than the descriptor; 0: none yet */
    assert(number < SCRATCH_FILES);
    if (made[number] == 0)
        made[number] = 1 + memfd_create("scratch", MFD_CLOEXEC);
    int fd = made[number] - 1;
    assert(fd >= 0);
    int emptied = ftruncate(fd, 0);
    assert(emptied == 0);
    return fd;
}

#endif
