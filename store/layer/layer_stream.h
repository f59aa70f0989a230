/* A tar's bytes on their way to libarchive, and as much of them once more as it takes to
 * look at a member's raw headers when libarchive has read them.
 */
#ifndef LARDER_STORE_LAYER_LAYER_STREAM_H
#define LARDER_STORE_LAYER_LAYER_STREAM_H

#include "store/error.h"
#include "store/layer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tar_stream {
    const struct tar_source *source; /* the caller's */
    const unsigned char *piece;      /* the source's latest */
    size_t piece_size;
    uint64_t piece_offset; /* in the tar */

    /* What came before `piece`: a little, and while `in_header` all since that began. */
    bool in_header;
    unsigned char *kept; /* owned */
    size_t kept_size;
    size_t kept_capacity;
    uint64_t kept_offset; /* in the tar */

    uint64_t size_bytes; /* of the tar, once the source has ended */
    bool source_ended;
    bool ended;
};

/* In a header from the start. Release with tar_stream_close(). */
void tar_stream_open(struct tar_stream *stream, const struct tar_source *source);
void tar_stream_close(struct tar_stream *stream);

/* What is read from here on is kept, until the header has ended. */
void tar_stream_begin_header(struct tar_stream *stream);
void tar_stream_end_header(struct tar_stream *stream);

/* The next piece is then in `piece`; at the end it is empty. Where the tar ends within a
 * block, zeros fill that up: `umoci insert` leaves out what pads its last file, and Go's
 * archive/tar does not miss it. */
[[nodiscard]] bool tar_stream_next(struct tar_stream *stream, struct error *error);

/* The bytes from `offset` of the tar on, as far as they were read; valid until the next
 * call. *size_bytes is 0 when none were, or when they are gone. */
[[nodiscard]] const unsigned char *tar_stream_at(struct tar_stream *stream, uint64_t offset,
                                                 size_t *size_bytes);

#endif
