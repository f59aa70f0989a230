/* store/layer.h: the input is a tar. What layer_build() makes of it, its own reader must find
 * whole and within the limits; and it hangs on the tar alone, not on how that was cut. */
#include "scratch_file.h"
#include "store/compose.h"
#include "tar_input.h"

/* Headers lie across many pieces of the one size, and end with a piece of the other. */
static const size_t piece_sizes[] = {173, TAR_BLOCK_BYTES};
enum { PIECE_SIZES = sizeof(piece_sizes) / sizeof(piece_sizes[0]) };

struct outcome {
    bool succeeded;
    struct layer_result result;
    struct error error;
    int fd;
};

static struct outcome build(const uint8_t *data, size_t size_bytes, size_t number,
                            size_t piece_bytes)
{
    struct outcome outcome = {.fd = scratch_file(number)};
    outcome.succeeded = tar_input_build_of(data, size_bytes, piece_bytes, outcome.fd,
                                           &outcome.result, &outcome.error);
    return outcome;
}

static void expect_same_bytes(int one, int other, size_t size_bytes)
{
    void *bytes = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, one, 0);
    void *others = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, other, 0);
    assert(bytes != MAP_FAILED && others != MAP_FAILED);
    assert(memcmp(bytes, others, size_bytes) == 0);
    munmap(bytes, size_bytes);
    munmap(others, size_bytes);
}

static void expect_reason(const struct outcome *outcome)
{
    assert(outcome->succeeded || outcome->error.code == ERROR_UNSUPPORTED_LAYER ||
           outcome->error.code == ERROR_LAYER_TOO_LARGE);
}

static void expect_same(const struct outcome *one, const struct outcome *other)
{
    assert(one->succeeded == other->succeeded);
    if (!one->succeeded)
        return; /* for one of several reasons: which is found first may hang on the cut */
    assert(one->result.entries == other->result.entries);
    assert(one->result.erofs_size_bytes == other->result.erofs_size_bytes);
    expect_same_bytes(one->fd, other->fd, one->result.erofs_size_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct outcome whole = build(data, size_bytes, 0, size_bytes + 1);
    expect_reason(&whole);
    for (size_t i = 0; i < PIECE_SIZES; i++) {
        struct outcome cut = build(data, size_bytes, 1, piece_sizes[i]);
        expect_reason(&cut);
        expect_same(&whole, &cut);
    }
    if (!whole.succeeded)
        return 0;
    assert(whole.result.erofs_size_bytes <= tar_input_limits.max_output_bytes);
    assert(erofs_file_check(whole.fd, whole.result.erofs_size_bytes, &whole.error));
    return 0;
}
