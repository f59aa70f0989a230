#include "store/layer/layer_stream.h"

#include <criterion/criterion.h>
#include <string.h>

enum { PIECE_SIZE = 1000, PIECES = 1000 };

/* struct tar_source's next(): the byte at an offset tells the offset, as far as it can. */
static bool next_numbered_piece(void *context, const void **bytes, size_t *size_bytes,
                                struct error *error)
{
    (void)error;
    static unsigned char piece[PIECE_SIZE];
    size_t *offset = context;
    for (size_t i = 0; i < PIECE_SIZE; i++)
        piece[i] = (unsigned char)((*offset + i) % 251);
    *bytes = piece;
    *size_bytes = *offset < (size_t)PIECES * PIECE_SIZE ? PIECE_SIZE : 0;
    *offset += *size_bytes;
    return true;
}

static void expect_bytes(struct tar_stream *stream, uint64_t offset, size_t size)
{
    size_t found = 0;
    const unsigned char *bytes = tar_stream_at(stream, offset, &found);
    cr_assert_geq(found, size, "%zu bytes at %lu, not %zu", size, (unsigned long)offset, found);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(bytes[i], (offset + i) % 251, "byte %zu at %lu", i, (unsigned long)offset);
}

Test(layer_stream, a_header_over_many_pieces_is_seen_whole_and_then_forgotten)
{
    size_t offset = 0;
    struct error error = {0};
    struct tar_stream stream;
    tar_stream_open(&stream, &(struct tar_source){next_numbered_piece, &offset});
    for (int round = 0; round < PIECES / 10; round++) {
        uint64_t start = stream.piece_offset;
        tar_stream_begin_header(&stream);
        for (int piece = 0; piece < 10; piece++)
            cr_assert(tar_stream_next(&stream, &error));
        expect_bytes(&stream, start, 9 * PIECE_SIZE);
        if (round > 0)
            expect_bytes(&stream, start - 511, 511);
        if (round % 2) /* every other time, another header follows at once */
            tar_stream_end_header(&stream);
    }
    cr_expect_leq(stream.kept_capacity, 64 << 10, "%zu bytes are kept", stream.kept_capacity);
    tar_stream_close(&stream);
}

Test(layer_stream, a_tar_that_ends_within_a_block_is_filled_up)
{
    size_t offset = (size_t)(PIECES - 1) * PIECE_SIZE;
    struct error error = {0};
    struct tar_stream stream;
    tar_stream_open(&stream, &(struct tar_source){next_numbered_piece, &offset});
    cr_assert(tar_stream_next(&stream, &error) && tar_stream_next(&stream, &error));
    cr_expect_eq(stream.size_bytes, PIECE_SIZE);
    cr_expect_eq(stream.piece_size, 24, "up to 1,024");
    cr_expect(!stream.ended);
    cr_assert(tar_stream_next(&stream, &error));
    cr_expect(stream.ended && stream.piece_size == 0);
    tar_stream_close(&stream);
}
