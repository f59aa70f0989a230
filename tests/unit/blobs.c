#include "blobs.h"

#include "store/arena.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static struct arena arena;

void blobs_free(void)
{
    arena_free(&arena);
}

void blobs_append(struct bytes *bytes, const void *data, size_t size)
{
    uint8_t *longer = arena_alloc_array(&arena, bytes->size + size + 1, 1);
    if (bytes->size > 0)
        memcpy(longer, bytes->data, bytes->size);
    if (size > 0)
        memcpy(longer + bytes->size, data, size);
    bytes->data = longer;
    bytes->size += size;
}

struct bytes blobs_zeros(size_t size)
{
    return (struct bytes){arena_alloc(&arena, size), size};
}

struct bytes blobs_sample(size_t size)
{
    struct bytes bytes = blobs_zeros(size);
    uint32_t state = 1;
    for (size_t offset = 0; offset < size;) {
        char line[64];
        state = state * 1103515245 + 12345;
        int length = snprintf(line, sizeof(line), "usr/share/doc/package-%u/copyright\n",
                              state >> 16 & 0x3ff);
        size_t piece = size - offset < (size_t)length ? size - offset : (size_t)length;
        memcpy(bytes.data + offset, line, piece);
        offset += piece;
    }
    return bytes;
}

void blobs_append_gzip_member(struct bytes *blob, const void *data, size_t size)
{
    z_stream stream = {0};
    cr_assert_eq(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&stream, size);
    stream.next_in = (uint8_t *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    stream.next_out = arena_alloc(&arena, bound);
    stream.avail_out = (uInt)bound;
    uint8_t *member = stream.next_out;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    blobs_append(blob, member, stream.total_out);
    deflateEnd(&stream);
}

void blobs_append_zstd_frame(struct bytes *blob, const void *data, size_t size)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t bound = ZSTD_compressBound(size);
    uint8_t *frame = arena_alloc(&arena, bound);
    size_t used = ZSTD_compress2(context, frame, bound, data, size);
    cr_assert_not(ZSTD_isError(used));
    blobs_append(blob, frame, used);
    ZSTD_freeCCtx(context);
}

void blobs_append_skippable_frame(struct bytes *blob)
{
    static const uint8_t frame[] = {0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'};
    blobs_append(blob, frame, sizeof(frame));
}
