/* A file that an operator wrote, read whole: bounded, and not writable by everybody. */
#ifndef LARDER_SERVER_SMALL_FILE_H
#define LARDER_SERVER_SMALL_FILE_H

#include "store/arena.h"
#include "store/error.h"

#include <sys/types.h>

struct small_file {
    const char *bytes; /* in the arena, with a NUL after them */
    size_t size;
};

/* Refuses a file whose mode has one of the bits of `forbidden`. Fails with
 * ERROR_INVALID_ARGUMENT and a sentence about "it": the caller says what it is. */
[[nodiscard]] bool small_file_read(const char *path, size_t limit, mode_t forbidden,
                                   struct arena *arena, struct small_file *file,
                                   struct error *error);

#endif
