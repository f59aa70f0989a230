/* Release on leaving scope, in reverse order of declaration.
 *
 * Declare with the initial value that means "nothing" (NULL, -1), and steal the
 * value to pass ownership on:
 *
 *     cleanup_fd int fd = open(…);
 *     …
 *     out->fd = steal_fd(&fd);
 */
#ifndef LARDER_STORE_CLEANUP_H
#define LARDER_STORE_CLEANUP_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(function) __attribute__((cleanup(function)))

static inline void cleanup_free_pointer(void *slot)
{
    free(*(void **)slot);
}

/* Keeps errno, so that a failing path may still report it. */
static inline void cleanup_close_fd(const int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

static inline void cleanup_close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}

#define cleanup_free cleanup(cleanup_free_pointer)
#define cleanup_fd   cleanup(cleanup_close_fd)
#define cleanup_file cleanup(cleanup_close_file)

static inline int steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

/* Moves a pointer out of its owner and leaves NULL there. */
#define steal(slot)                                                                                \
    __extension__({                                                                                \
        __typeof__(*(slot)) stolen_ = *(slot);                                                     \
        *(slot) = NULL;                                                                            \
        stolen_;                                                                                   \
    })

#endif
