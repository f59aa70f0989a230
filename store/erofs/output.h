/* The file that is being written: sequential, in large writes. Making it durable is its owner's,
 * who may do so at any time. */
#ifndef LARDER_STORE_EROFS_OUTPUT_H
#define LARDER_STORE_EROFS_OUTPUT_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_output {
    int fd;               /* the caller's */
    uint64_t limit_bytes; /* more than this is ERROR_LAYER_TOO_LARGE */
    uint64_t flushed;     /* file offset of buffer[0] */
    size_t used;          /* bytes in buffer */
    unsigned char *buffer;
};

/* Begins at offset 0 of an empty file. Release with erofs_output_close(). */
void erofs_output_open(struct erofs_output *output, int fd, uint64_t limit_bytes);

/* Frees the buffer; what was not flushed is lost. */
void erofs_output_close(struct erofs_output *output);

/* Where the next byte goes. */
static inline uint64_t erofs_output_offset(const struct erofs_output *output)
{
    return output->flushed + output->used;
}

/* Would so many bytes more go beyond the limit? Then fails with ERROR_LAYER_TOO_LARGE. */
[[nodiscard]] bool erofs_output_has_room(const struct erofs_output *output, uint64_t size,
                                         struct error *error);

[[nodiscard]] bool erofs_output_write(struct erofs_output *output, const void *bytes,
                                      size_t size_bytes, struct error *error);

/* Zeros; a hole in the file where there are many. */
[[nodiscard]] bool erofs_output_skip(struct erofs_output *output, uint64_t size_bytes,
                                     struct error *error);

/* Zeros up to the next multiple of `alignment`, a power of two. */
[[nodiscard]] bool erofs_output_align(struct erofs_output *output, uint64_t alignment,
                                      struct error *error);

/* Writes the buffer out, makes the file as long as the offset says, and starts its write-back. */
[[nodiscard]] bool erofs_output_finish(struct erofs_output *output, struct error *error);

/* Overwrites what was skipped at the file's start. Call after finishing. */
[[nodiscard]] bool erofs_output_write_start(struct erofs_output *output, const void *bytes,
                                            size_t size_bytes, struct error *error);

#endif
