/* store/convert/inflate.h: the first byte picks the compression, the second how the blob is
 * cut: a first piece as long as promised, then pieces of that size, down to single bytes.
 * However it is cut, the outcome must be the same, and what zlib takes igzip must take alike. The
 * other way round it need not be: igzip takes sets of code lengths that leave codes unused, which
 * zlib refuses (docs/converter.md). */
#include "store/convert/deflate.h"

#include <assert.h>
#include <stdlib.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h> /* for ZSTD_createDStream_advanced() */

enum { MAX_TAR_BYTES = 1 << 20, SMALL_BYTES = 1 << 18, WINDOW_BYTES_MAX = 10 << 20 };

/* A window of zstd's is up to 8 MiB, and AddressSanitizer maps and marks each anew, which
 * takes ten times as long as the rest. Only libzstd, which is not instrumented, touches it;
 * one at a time is in use, so one serves all. */
static uint8_t window[WINDOW_BYTES_MAX];
static bool window_is_used;

static void *take_memory(void *opaque, size_t size_bytes)
{
    (void)opaque;
    if (size_bytes <= SMALL_BYTES || size_bytes > sizeof(window) || window_is_used)
        return malloc(size_bytes);
    window_is_used = true;
    return window;
}

static void give_memory(void *opaque, void *memory)
{
    (void)opaque;
    if (memory == window)
        window_is_used = false;
    else
        free(memory);
}

/* The linker puts it in the place of ZSTD_createDStream(). */
ZSTD_DStream *create_stream(void) __asm__("__wrap_ZSTD_createDStream");
ZSTD_DStream *create_stream(void)
{
    return ZSTD_createDStream_advanced((ZSTD_customMem){take_memory, give_memory, NULL});
}

struct outcome {
    bool succeeded;
    uint64_t size_bytes;
    struct digest digest;
};

static struct outcome inflate_in_pieces(const struct deflate_engine *engine,
                                        enum layer_compression compression, const uint8_t *blob,
                                        size_t size_bytes, size_t in_piece, size_t out_piece)
{
    static uint8_t out[65536];
    struct outcome outcome = {0};
    struct error error = {0};
    cleanup_inflate struct inflate *inflate = inflate_new_with(compression, MAX_TAR_BYTES, engine);
    cleanup_digest_state struct digest_state *state = digest_state_new();
    for (size_t offset = 0; offset < size_bytes;) {
        size_t least = offset == 0 ? INFLATE_MAGIC_BYTES : 1;
        size_t piece = in_piece > least ? in_piece : least;
        if (piece > size_bytes - offset)
            piece = size_bytes - offset;
        struct inflate_buffers buffers = {blob + offset, piece, NULL, 0};
        do {
            buffers.out = out;
            buffers.out_bytes = out_piece;
            if (!inflate_step(inflate, &buffers, &error)) {
                assert(error.code == ERROR_UNSUPPORTED_LAYER ||
                       error.code == ERROR_LAYER_TOO_LARGE);
                return outcome;
            }
            digest_state_update(state, out, out_piece - buffers.out_bytes);
            outcome.size_bytes += out_piece - buffers.out_bytes;
        } while (buffers.out_bytes == 0);
        assert(buffers.in_bytes == 0);
        offset += piece;
    }
    assert(outcome.size_bytes <= MAX_TAR_BYTES);
    outcome.succeeded = inflate_end(inflate, &error);
    outcome.digest = digest_state_finish(state);
    return outcome;
}

static void expect_same(const struct outcome *one, const struct outcome *other)
{
    assert(one->succeeded == other->succeeded);
    if (one->succeeded)
        assert(one->size_bytes == other->size_bytes && digest_equal(&one->digest, &other->digest));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    if (size_bytes < 2)
        return 0;
    enum layer_compression compression = (enum layer_compression)(data[0] % 3);
    size_t in_piece = 1 + data[1];
    const uint8_t *blob = data + 2;
    size_t blob_bytes = size_bytes - 2;

    struct outcome best = {0};
    for (size_t i = 0; deflate_engines[i] && (i == 0 || compression == LAYER_GZIP); i++) {
        const struct deflate_engine *engine = deflate_engines[i];
        struct outcome whole =
            inflate_in_pieces(engine, compression, blob, blob_bytes, blob_bytes, 65536);
        struct outcome cut =
            inflate_in_pieces(engine, compression, blob, blob_bytes, in_piece, 509);
        expect_same(&whole, &cut);
        if (i == 0)
            best = whole;
        else if (whole.succeeded)
            expect_same(&best, &whole);
    }
    return 0;
}
