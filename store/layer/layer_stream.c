#include "store/layer/layer_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_SIZE = 512,
    TAIL_SIZE = 1024,     /* libarchive may have read ahead by a block */
    MAX_HEADERS = 4 << 20 /* what of a piece is copied beside what was kept */
};

void tar_stream_open(struct tar_stream *stream, const struct tar_source *source)
{
    *stream = (struct tar_stream){.source = source, .in_header = true};
}

void tar_stream_close(struct tar_stream *stream)
{
    free(stream->kept);
    *stream = (struct tar_stream){0};
}

/* Appends what is new of the piece's first `size` bytes. */
static void keep(struct tar_stream *stream, size_t size)
{
    uint64_t end = stream->kept_offset + stream->kept_size;
    size_t skip = end > stream->piece_offset ? (size_t)(end - stream->piece_offset) : 0;
    if (skip >= size)
        return;
    size_t more = size - skip;
    if (stream->kept_size + more > stream->kept_capacity) {
        stream->kept_capacity = 2 * (stream->kept_size + more);
        stream->kept = realloc(stream->kept, stream->kept_capacity);
        if (!stream->kept)
            abort();
    }
    memcpy(stream->kept + stream->kept_size, stream->piece + skip, more);
    stream->kept_size += more;
}

/* Never more than there is: what is kept reaches up to the piece. */
static void forget(struct tar_stream *stream, size_t size)
{
    assert(size <= stream->kept_size);
    stream->kept_size -= size;
    stream->kept_offset += size;
    memmove(stream->kept, stream->kept + size, stream->kept_size);
}

void tar_stream_begin_header(struct tar_stream *stream)
{
    if (stream->kept_offset + TAIL_SIZE < stream->piece_offset)
        forget(stream, (size_t)(stream->piece_offset - TAIL_SIZE - stream->kept_offset));
    stream->in_header = true;
}

void tar_stream_end_header(struct tar_stream *stream)
{
    stream->in_header = false;
}

/* Before the piece goes. */
static void keep_what_matters(struct tar_stream *stream)
{
    if (!stream->in_header && stream->piece_size >= TAIL_SIZE) {
        size_t skip = stream->piece_size - TAIL_SIZE;
        stream->kept_size = 0;
        stream->kept_offset = stream->piece_offset + skip;
        stream->piece += skip;
        stream->piece_offset += skip;
        stream->piece_size -= skip;
    }
    keep(stream, stream->piece_size);
    if (!stream->in_header && stream->kept_size > TAIL_SIZE)
        forget(stream, stream->kept_size - TAIL_SIZE);
}

static void fill_last_block(struct tar_stream *stream)
{
    static const unsigned char zeros[BLOCK_SIZE];
    stream->source_ended = true;
    stream->size_bytes = stream->piece_offset;
    stream->piece = zeros;
    stream->piece_size = (size_t)(-stream->size_bytes % BLOCK_SIZE);
}

bool tar_stream_next(struct tar_stream *stream, struct error *error)
{
    if (stream->ended)
        return true;
    keep_what_matters(stream);
    stream->piece_offset += stream->piece_size;
    stream->piece_size = 0;
    if (stream->source_ended) {
        stream->ended = true;
        return true;
    }
    const void *bytes;
    if (!stream->source->next(stream->source->context, &bytes, &stream->piece_size, error)) {
        stream->piece_size = 0;
        stream->ended = true;
        return false;
    }
    stream->piece = bytes;
    if (stream->piece_size == 0)
        fill_last_block(stream);
    stream->ended = stream->piece_size == 0;
    return true;
}

const unsigned char *tar_stream_at(struct tar_stream *stream, uint64_t offset, size_t *size_bytes)
{
    *size_bytes = 0;
    if (offset >= stream->piece_offset) {
        uint64_t skip = offset - stream->piece_offset;
        if (skip >= stream->piece_size)
            return stream->piece;
        *size_bytes = stream->piece_size - (size_t)skip;
        return stream->piece + skip;
    }
    if (offset < stream->kept_offset)
        return stream->piece;
    keep(stream, stream->piece_size < MAX_HEADERS ? stream->piece_size : MAX_HEADERS);
    size_t skip = (size_t)(offset - stream->kept_offset);
    *size_bytes = stream->kept_size - skip;
    return stream->kept + skip;
}
