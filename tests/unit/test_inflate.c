#include "store/convert/deflate.h"

#include "blobs.h"

#include <criterion/criterion.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

TestSuite(inflate, .fini = blobs_free);

struct outcome {
    bool succeeded;
    struct error error;
    struct bytes tar; /* what came out, also before a failure */
};

enum { NO_LIMIT = INT32_MAX, ROOM_BYTES = 10 << 20 };

/* What came out of the last blob. */
static uint8_t room[ROOM_BYTES];

/* What gzip is inflated with in this round of a test. */
static const struct deflate_engine *const *engine = deflate_engines;

/* A test that has a round with each engine that is built in. */
#define EngineTest(name)                                                                           \
    static void name(void);                                                                        \
    Test(inflate, name)                                                                            \
    {                                                                                              \
        for (engine = deflate_engines; *engine; engine++)                                          \
            name();                                                                                \
        engine = deflate_engines;                                                                  \
    }                                                                                              \
    static void name(void)

/* Feeds pieces of `in_piece` bytes and takes pieces of `out_piece`. */
static struct outcome inflate_in_pieces(enum layer_compression compression,
                                        const struct bytes *blob, size_t in_piece, size_t out_piece,
                                        uint64_t max_tar_bytes)
{
    struct outcome outcome = {.tar = {room, 0}};
    cleanup_inflate struct inflate *inflate = inflate_new_with(compression, max_tar_bytes, *engine);
    for (size_t offset = 0; offset < blob->size;) {
        size_t piece = blob->size - offset < in_piece ? blob->size - offset : in_piece;
        struct inflate_buffers buffers = {blob->data + offset, piece, NULL, 0};
        do {
            cr_assert_leq(outcome.tar.size + out_piece, sizeof(room));
            buffers.out = room + outcome.tar.size;
            buffers.out_bytes = out_piece;
            if (!inflate_step(inflate, &buffers, &outcome.error))
                return outcome;
            outcome.tar.size += out_piece - buffers.out_bytes;
        } while (buffers.out_bytes == 0);
        cr_assert_eq(buffers.in_bytes, 0, "a step with room left uses up its input");
        offset += piece;
    }
    outcome.succeeded = inflate_end(inflate, &outcome.error);
    return outcome;
}

static struct outcome inflate_blob(enum layer_compression compression, const struct bytes *blob)
{
    return inflate_in_pieces(compression, blob, 65536, 65536, NO_LIMIT);
}

static void expect_tar(const struct outcome *outcome, const struct bytes *tar, const char *what)
{
    cr_expect(outcome->succeeded, "%s inflates: %s", what, outcome->error.message);
    cr_expect_eq(outcome->tar.size, tar->size, "%s gives %zu bytes, not %zu", what, tar->size,
                 outcome->tar.size);
    if (outcome->tar.size == tar->size && tar->size > 0)
        cr_expect_eq(memcmp(outcome->tar.data, tar->data, tar->size), 0, "%s gives its bytes",
                     what);
}

static void expect_refusal(const struct outcome *outcome, enum error_code code,
                           const char *fragment, const char *what)
{
    cr_expect_not(outcome->succeeded, "%s is refused", what);
    cr_expect_eq(outcome->error.code, code, "%s gives %s, not %s: %s", what, error_code_name(code),
                 error_code_name(outcome->error.code), outcome->error.message);
    cr_expect(strstr(outcome->error.message, fragment), "%s: \"%s\" tells of \"%s\"", what,
              outcome->error.message, fragment);
}

EngineTest(every_compression_gives_the_tar_back_however_it_is_cut)
{
    struct bytes tar = blobs_sample(200000);
    struct bytes gzip = {0};
    struct bytes members = {0};
    struct bytes zstd = {0};
    struct bytes frames = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    blobs_append_zstd_frame(&zstd, tar.data, tar.size);
    blobs_append_skippable_frame(&frames);
    for (size_t offset = 0; offset < tar.size; offset += 10000) {
        blobs_append_gzip_member(&members, tar.data + offset, 10000);
        blobs_append_gzip_member(&members, NULL, 0);
        blobs_append_zstd_frame(&frames, tar.data + offset, 10000);
        blobs_append_skippable_frame(&frames);
    }
    const struct {
        const char *name;
        enum layer_compression compression;
        const struct bytes *blob;
    } blobs[] = {
        {"a plain tar", LAYER_PLAIN, &tar},
        {"gzip", LAYER_GZIP, &gzip},
        {"gzip of 40 members, each second one empty", LAYER_GZIP, &members},
        {"zstd", LAYER_ZSTD, &zstd},
        {"zstd of 20 frames among skippable ones", LAYER_ZSTD, &frames},
    };
    static const size_t pieces[][2] = {{1 << 20, 1 << 20}, {65536, 1000}, {7, 1 << 20}, {5, 3}};
    for (size_t i = 0; i < sizeof(blobs) / sizeof(blobs[0]); i++)
        for (size_t j = 0; j < sizeof(pieces) / sizeof(pieces[0]); j++) {
            struct outcome outcome = inflate_in_pieces(blobs[i].compression, blobs[i].blob,
                                                       pieces[j][0], pieces[j][1], NO_LIMIT);
            expect_tar(&outcome, &tar, blobs[i].name);
        }
}

EngineTest(a_blob_that_is_not_what_its_media_type_says_is_refused_naming_both)
{
    struct bytes tar = blobs_sample(1000);
    struct bytes gzip = {0};
    struct bytes zstd = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    blobs_append_zstd_frame(&zstd, tar.data, tar.size);
    const struct {
        enum layer_compression said;
        const struct bytes *blob;
        const char *message;
    } cases[] = {
        {LAYER_GZIP, &tar, "says gzip but the blob begins like plain tar"},
        {LAYER_GZIP, &zstd, "says gzip but the blob begins like zstd"},
        {LAYER_ZSTD, &gzip, "says zstd but the blob begins like gzip"},
        {LAYER_ZSTD, &tar, "says zstd but the blob begins like plain tar"},
        {LAYER_PLAIN, &gzip, "says plain tar but the blob begins like gzip"},
        {LAYER_PLAIN, &zstd, "says plain tar but the blob begins like zstd"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome outcome = inflate_blob(cases[i].said, cases[i].blob);
        expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, cases[i].message, "a wrong magic");
    }
}

EngineTest(a_blob_cut_off_anywhere_is_refused)
{
    struct bytes tar = blobs_sample(3000);
    struct bytes gzip = {0};
    struct bytes zstd = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    blobs_append_zstd_frame(&zstd, tar.data, tar.size);
    for (size_t size = INFLATE_MAGIC_BYTES; size < gzip.size; size++) {
        struct outcome outcome = inflate_blob(LAYER_GZIP, &(struct bytes){gzip.data, size});
        expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "cut off", "a piece of gzip");
    }
    for (size_t size = INFLATE_MAGIC_BYTES; size < zstd.size; size++) {
        struct outcome outcome = inflate_blob(LAYER_ZSTD, &(struct bytes){zstd.data, size});
        expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "cut off", "a piece of zstd");
    }
    struct outcome empty = inflate_blob(LAYER_GZIP, &(struct bytes){NULL, 0});
    expect_refusal(&empty, ERROR_UNSUPPORTED_LAYER, "cut off", "an empty gzip blob");
    empty = inflate_blob(LAYER_ZSTD, &(struct bytes){NULL, 0});
    expect_refusal(&empty, ERROR_UNSUPPORTED_LAYER, "cut off", "an empty zstd blob");
}

EngineTest(zeros_may_follow_gzip_but_nothing_else)
{
    struct bytes tar = blobs_sample(3000);
    static const uint8_t zeros[1000];
    struct bytes padded = {0};
    blobs_append_gzip_member(&padded, tar.data, tar.size);
    blobs_append(&padded, zeros, sizeof(zeros));
    for (size_t piece = INFLATE_MAGIC_BYTES; piece < 4096; piece *= 2) {
        struct outcome outcome = inflate_in_pieces(LAYER_GZIP, &padded, piece, 4096, NO_LIMIT);
        expect_tar(&outcome, &tar, "gzip with zero padding");
    }

    const struct {
        enum layer_compression compression;
        const char *tail;
        size_t size;
        const char *message;
    } cases[] = {
        {LAYER_GZIP, "junk", 4, "not gzip"},    {LAYER_GZIP, "\0\0\0junk", 7, "not gzip"},
        {LAYER_GZIP, "\x1f\x8c", 2, "damaged"}, {LAYER_GZIP, "\x1f\x8b", 2, "cut off"},
        {LAYER_GZIP, "\x1f", 1, "cut off"},     {LAYER_GZIP, "\0\0\x1f\x8b\x08", 5, "not gzip"},
        {LAYER_ZSTD, "junk", 4, "damaged"},     {LAYER_ZSTD, "\0\0\0\0\0\0\0\0", 8, "damaged"},
        {LAYER_ZSTD, "\x28\xb5", 2, "cut off"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes blob = {0};
        if (cases[i].compression == LAYER_GZIP)
            blobs_append_gzip_member(&blob, tar.data, tar.size);
        else
            blobs_append_zstd_frame(&blob, tar.data, tar.size);
        blobs_append(&blob, cases[i].tail, cases[i].size);
        struct outcome outcome = inflate_blob(cases[i].compression, &blob);
        expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, cases[i].message, "a tail");
    }
}

/* The header's mtime, flags and system are under no checksum of gzip's own; what
 * they cover is the blob's digest's business. */
EngineTest(a_flipped_bit_never_gives_other_bytes)
{
    struct bytes tar = blobs_sample(3000);
    struct bytes blobs[2] = {{0}, {0}};
    blobs_append_gzip_member(&blobs[LAYER_GZIP - 1], tar.data, tar.size);
    blobs_append_zstd_frame(&blobs[LAYER_ZSTD - 1], tar.data, tar.size);
    for (enum layer_compression compression = LAYER_GZIP; compression <= LAYER_ZSTD;
         compression++) {
        struct bytes *blob = &blobs[compression - 1];
        for (size_t bit = 0; bit < blob->size * 8; bit++) {
            blob->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            struct outcome outcome = inflate_blob(compression, blob);
            blob->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            bool same =
                outcome.tar.size == tar.size && memcmp(outcome.tar.data, tar.data, tar.size) == 0;
            cr_assert(same || !outcome.succeeded, "bit %zu flipped is noticed", bit);
            cr_assert(outcome.succeeded || outcome.error.code == ERROR_UNSUPPORTED_LAYER);
        }
    }
}

EngineTest(a_bomb_stops_at_the_limit_and_names_it)
{
    struct bytes tar = blobs_zeros(10000000);
    struct bytes gzip = {0};
    struct bytes zstd = {0};
    blobs_append_gzip_member(&gzip, tar.data, tar.size);
    blobs_append_zstd_frame(&zstd, tar.data, tar.size);
    const struct bytes *blobs[] = {&tar, &gzip, &zstd};
    for (enum layer_compression compression = LAYER_PLAIN; compression <= LAYER_ZSTD;
         compression++) {
        struct outcome outcome =
            inflate_in_pieces(compression, blobs[compression], 65536, 4096, 1000000);
        expect_refusal(&outcome, ERROR_LAYER_TOO_LARGE, "1000000", "ten times the limit");
        cr_expect_leq(outcome.tar.size, 1000000, "no more than the limit is given out");

        outcome = inflate_in_pieces(compression, blobs[compression], 65536, 4096, tar.size);
        expect_tar(&outcome, &tar, "exactly the limit");
    }
}

/* libzstd looks differently at a frame that comes at once, and has taken the rest of a header
 * that came in pieces for a frame. */
/* RFC 1951, 3.2.7 leaves open what such a set means. A tar that comes of it has its diff_id, or is
 * refused. */
EngineTest(a_set_of_codes_that_leaves_some_unused_is_zlibs_alone_to_refuse)
{
    static const uint8_t blob[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed,
                                   0xd4, 0x3b, 0x0a, 0x80, 0x30, 0x14, 0x44, 0xd1, 0xde, 0xbd, 0x48,
                                   0x9c, 0xe7, 0x7f, 0x39, 0x21, 0x8a, 0x00, 0xa0, 0x12, 0xb5, 0x70,
                                   0xf7, 0x6e, 0x40, 0xb8, 0xd6, 0x92, 0xfe, 0x92, 0x43, 0x20, 0x99,
                                   0xeb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    const struct bytes gzip = {(uint8_t *)(uintptr_t)blob, sizeof(blob)};
    const struct bytes none = {0};
    for (size_t in_piece = INFLATE_MAGIC_BYTES; in_piece <= sizeof(blob); in_piece++) {
        struct outcome outcome = inflate_in_pieces(LAYER_GZIP, &gzip, in_piece, 7, NO_LIMIT);
        if (*engine == &deflate_zlib)
            expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "invalid literal/lengths set", "it");
        else
            expect_tar(&outcome, &none, "it");
    }
}

Test(inflate, a_zstd_frame_is_refused_however_it_is_cut)
{
    static const uint8_t block_in_no_window[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x00,
                                                 0x00, 0x00, 0x03, 0x00, 0x00, 0x80};
    static const uint8_t beginning[] = {0x28, 0xb5, 0x2f, 0xfd, 0x60};
    struct bytes zeros =
        blobs_zeros(46632); /* what the next magic says when it is read as a size */
    struct bytes blobs[2] = {{0}, {0}};
    blobs_append(&blobs[0], block_in_no_window, sizeof(block_in_no_window));
    blobs_append_skippable_frame(&blobs[1]); /* so that the rest is no longer than a piece */
    blobs_append_skippable_frame(&blobs[1]);
    blobs_append(&blobs[1], beginning, sizeof(beginning));
    blobs_append_zstd_frame(&blobs[1], zeros.data, zeros.size);
    for (size_t i = 0; i < 2; i++)
        for (size_t piece = INFLATE_MAGIC_BYTES; piece <= blobs[i].size; piece++) {
            struct outcome outcome =
                inflate_in_pieces(LAYER_ZSTD, &blobs[i], piece, 65536, NO_LIMIT);
            expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "damaged", "a frame in pieces");
        }
}

/* An empty one, of zstd 0.5: libzstd would take it. */
Test(inflate, a_frame_of_an_old_zstd_is_refused)
{
    static const uint8_t old_frame[] = {0x25, 0xb5, 0x2f, 0xfd, 0x05, 0x00, 0x00, 0x00};
    struct bytes tar = blobs_sample(3000);
    struct bytes blob = {0};
    blobs_append_zstd_frame(&blob, tar.data, tar.size);
    blobs_append(&blob, old_frame, sizeof(old_frame));
    struct outcome outcome = inflate_blob(LAYER_ZSTD, &blob);
    expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "damaged", "an old frame");
}

/* RFC 8878, 3.1.1.1.4: libzstd itself does not look when the last block is empty, unless the whole
 * frame comes at once. */
Test(inflate, a_zstd_frame_of_another_size_than_it_says_is_refused_however_it_is_cut)
{
    static const uint8_t empty_of_34120[] = {0x28, 0xb5, 0x2f, 0xfd, 0x60,
                                             0x48, 0x84, 0x01, 0x00, 0x00};
    struct bytes blob = {0};
    struct bytes behind = {0};
    blobs_append(&blob, empty_of_34120, sizeof(empty_of_34120));
    blobs_append_zstd_frame(&behind, "tar", 3);
    blobs_append_skippable_frame(&behind);
    blobs_append(&behind, blob.data, blob.size);
    for (size_t piece = INFLATE_MAGIC_BYTES; piece <= sizeof(empty_of_34120); piece++) {
        struct outcome outcome = inflate_in_pieces(LAYER_ZSTD, &blob, piece, 65536, NO_LIMIT);
        expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "damaged", "a frame alone");
        outcome = inflate_in_pieces(LAYER_ZSTD, &behind, piece, 1, NO_LIMIT);
        expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "damaged", "a frame behind others");
    }
}

Test(inflate, a_zstd_window_over_the_bound_is_refused)
{
    struct bytes tar = blobs_sample(1000);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, INFLATE_ZSTD_WINDOW_LOG_MAX + 1);
    uint8_t frame[4096];
    ZSTD_outBuffer out = {frame, sizeof(frame), 0};
    ZSTD_inBuffer in = {tar.data, tar.size, 0};
    /* Flush first: a frame whose size is known would shrink its window. */
    cr_assert_not(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush)));
    cr_assert_eq(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(context);
    struct outcome outcome = inflate_blob(LAYER_ZSTD, &(struct bytes){frame, out.pos});
    expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "damaged", "a 256 MiB window");
}

/* Every field of RFC 1952's header, its own CRC included. */
EngineTest(a_gzip_header_with_every_field_is_read_however_it_is_cut)
{
    struct bytes tar = blobs_sample(500);
    struct bytes plain = {0};
    struct bytes full = {0};
    static const char header[] = "\x1f\x8b\x08\x1e\0\0\0\0\0\xff\x03\0abcname\0comment";
    blobs_append_gzip_member(&plain, tar.data, tar.size);
    blobs_append(&full, header, sizeof(header));
    uint32_t crc = (uint32_t)crc32(0, full.data, (uInt)full.size);
    const uint8_t stored[] = {(uint8_t)crc, (uint8_t)(crc >> 8)};
    blobs_append(&full, stored, sizeof(stored));
    blobs_append(&full, plain.data + 10, plain.size - 10);
    for (size_t piece = INFLATE_MAGIC_BYTES; piece < 64; piece++) {
        struct outcome outcome = inflate_in_pieces(LAYER_GZIP, &full, piece, 4096, NO_LIMIT);
        expect_tar(&outcome, &tar, "a full header");
    }
    full.data[15] ^= 1;
    struct outcome outcome = inflate_blob(LAYER_GZIP, &full);
    expect_refusal(&outcome, ERROR_UNSUPPORTED_LAYER, "header is invalid", "a changed name");
}

/* Inflates the piece again and again, as members or frames behind each other, until it is
 * refused or so much has come out. Returns how much. */
static uint64_t inflate_repeatedly(enum layer_compression compression, const struct bytes *piece,
                                   uint64_t enough_bytes, struct error *error)
{
    cleanup_inflate struct inflate *inflate = inflate_new_with(compression, UINT64_MAX, *engine);
    inflate_limit_ratio(inflate, 200);
    uint64_t out_bytes = 0;
    while (out_bytes < enough_bytes) {
        struct inflate_buffers buffers = {piece->data, piece->size, NULL, 0};
        do {
            buffers.out = room;
            buffers.out_bytes = sizeof(room);
            if (!inflate_step(inflate, &buffers, error))
                return out_bytes;
            out_bytes += sizeof(room) - buffers.out_bytes;
        } while (buffers.out_bytes == 0);
    }
    return out_bytes;
}

static struct bytes compressed(enum layer_compression compression, const struct bytes *tar)
{
    struct bytes blob = {0};
    if (compression == LAYER_GZIP)
        blobs_append_gzip_member(&blob, tar->data, tar->size);
    else
        blobs_append_zstd_frame(&blob, tar->data, tar->size);
    return blob;
}

/* Of 4 MiB: nothing but one letter is the bomb; zeros are what honest layers are full of; a
 * line of a log over and over, with a number in it, is as dense as real content gets. */
EngineTest(a_bomb_is_refused_early_and_honest_layers_are_not)
{
    enum { PIECE_BYTES = 4 << 20 };
    const uint64_t free_bytes = INFLATE_RATIO_FREE_BYTES;
    struct bytes letters = blobs_zeros(PIECE_BYTES);
    struct bytes zeros = blobs_zeros(PIECE_BYTES);
    struct bytes log = blobs_zeros(PIECE_BYTES);
    memset(letters.data, 'A', letters.size);
    for (size_t at = 0; at + 64 <= log.size; at += 64)
        snprintf((char *)log.data + at, 64, "2024-01-02T03:04:05Z GET /healthz 200 %09zu", at * 7);
    for (enum layer_compression compression = LAYER_GZIP; compression <= LAYER_ZSTD;
         compression++) {
        struct error error = {0};
        struct bytes bomb = compressed(compression, &letters);
        uint64_t out_bytes = inflate_repeatedly(compression, &bomb, 8 * free_bytes, &error);
        cr_expect_eq(error.code, ERROR_LAYER_TOO_LARGE, "%s", error.message);
        cr_expect(strstr(error.message, "--max-inflate-ratio"), "%s", error.message);
        cr_expect_leq(out_bytes, free_bytes + free_bytes / 4, "it is refused early");
        cr_expect_geq(out_bytes, free_bytes - PIECE_BYTES, "but no small layer is");

        struct bytes honest[] = {compressed(compression, &zeros), compressed(compression, &log)};
        for (size_t i = 0; i < 2; i++)
            cr_expect_geq(inflate_repeatedly(compression, &honest[i], 2 * free_bytes, &error),
                          2 * free_bytes, "honest layer %zu: %s", i, error.message);
    }
}
