#include "store/convert/deflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { TRAILER_BYTES = 8 }; /* CRC-32 and length, each little-endian */

struct member {
    z_stream stream;
    uint32_t crc;
    uint32_t size_bytes; /* modulo 2^32, as the trailer has it */
    bool data_ended;
    uint8_t trailer[TRAILER_BYTES];
    size_t trailer_bytes; /* of which are here */
};

static void *open_state(void)
{
    struct member *member = calloc(1, sizeof(*member));
    if (!member || inflateInit2(&member->stream, -MAX_WBITS) != Z_OK)
        abort();
    return member;
}

static void close_state(void *context)
{
    struct member *member = context;
    if (!member)
        return;
    inflateEnd(&member->stream);
    free(member);
}

static void reset(void *context)
{
    struct member *member = context;
    inflateReset(&member->stream);
    member->crc = (uint32_t)crc32(0, NULL, 0);
    member->size_bytes = 0;
    member->data_ended = false;
    member->trailer_bytes = 0;
}

static const char *inflate_data(struct member *member, struct inflate_buffers *buffers)
{
    z_stream *stream = &member->stream;
    uint8_t *out = buffers->out;
    uint32_t in_bytes = deflate_room(buffers->in_bytes);
    uint32_t out_bytes = deflate_room(buffers->out_bytes);
    stream->next_in = (Bytef *)(uintptr_t)buffers->in; /* zlib only reads it */
    stream->avail_in = in_bytes;
    stream->next_out = out;
    stream->avail_out = out_bytes;

    int result = inflate(stream, Z_NO_FLUSH);
    if (result == Z_MEM_ERROR)
        abort();
    if (result != Z_OK && result != Z_BUF_ERROR && result != Z_STREAM_END)
        return stream->msg ? stream->msg : "its deflate data is invalid";
    uint32_t made = out_bytes - stream->avail_out;
    member->crc = (uint32_t)crc32(member->crc, out, made);
    member->size_bytes += made;
    member->data_ended = result == Z_STREAM_END;
    deflate_consume(buffers, in_bytes - stream->avail_in, made);
    return NULL;
}

static uint32_t little_endian(const uint8_t bytes[4])
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static const char *take_trailer(struct member *member, struct inflate_buffers *buffers, bool *ended)
{
    size_t wanted = TRAILER_BYTES - member->trailer_bytes;
    size_t taken = buffers->in_bytes < wanted ? buffers->in_bytes : wanted;
    memcpy(member->trailer + member->trailer_bytes, buffers->in, taken);
    member->trailer_bytes += taken;
    deflate_consume(buffers, taken, 0);
    if (member->trailer_bytes < TRAILER_BYTES)
        return NULL;
    *ended = true;
    bool right = little_endian(member->trailer) == member->crc &&
                 little_endian(member->trailer + 4) == member->size_bytes;
    return right ? NULL : "a member's CRC-32 or length is wrong";
}

static const char *step(void *context, struct inflate_buffers *buffers, bool *ended)
{
    struct member *member = context;
    const char *fault = member->data_ended ? NULL : inflate_data(member, buffers);
    *ended = false;
    if (fault || !member->data_ended)
        return fault;
    return take_trailer(member, buffers, ended);
}

const struct deflate_engine deflate_zlib = {"zlib", open_state, close_state, reset, step};
