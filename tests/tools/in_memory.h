/* For tools that time what is done with a file's bytes, without their way into memory. */
#ifndef LARDER_TESTS_TOOLS_IN_MEMORY_H
#define LARDER_TESTS_TOOLS_IN_MEMORY_H

#include "store/cleanup.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The whole file, to be freed, or NULL. Each page has been touched: on a virtual machine with
 * shadow page tables the first touch by a program of what the kernel wrote is a fault, and dearer
 * than most of what is timed. */
static inline uint8_t *read_into_memory(const char *path, size_t *size_bytes)
{
    enum { PAGE_BYTES = 4096 };
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return NULL;
    *size_bytes = (size_t)status.st_size;
    cleanup_free uint8_t *bytes = malloc(*size_bytes + 1);
    for (size_t have = 0; bytes && have < *size_bytes;) {
        ssize_t got = read(fd, bytes + have, *size_bytes - have);
        if (got <= 0)
            return NULL;
        have += (size_t)got;
    }
    for (size_t at = 0; bytes && at < *size_bytes; at += PAGE_BYTES)
        (void)*(volatile uint8_t *)&bytes[at];
    return steal(&bytes);
}

#endif
