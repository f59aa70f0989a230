/* store/layer.h: the input is a tar. What layer_build() makes of it, its own reader
 * must find whole. */
#include "store/compose.h"
#include "store/layer.h"

#include <assert.h>
#include <sys/mman.h>

struct tar {
    const uint8_t *bytes;
    size_t left_bytes;
};

/* A struct tar_source that hands out pieces of odd sizes. */
static bool next_piece(void *context, const void **bytes, size_t *size_bytes, struct error *error)
{
    (void)error;
    struct tar *tar = context;
    *bytes = tar->bytes;
    *size_bytes = tar->left_bytes < 1021 ? tar->left_bytes : 1021;
    tar->bytes += *size_bytes;
    tar->left_bytes -= *size_bytes;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static const struct layer_limits limits = {
        .max_entries = 1000, .max_path_depth = 64, .max_output_bytes = 8 << 20};
    struct tar tar = {data, size_bytes};
    const struct tar_source source = {next_piece, &tar};
    const struct digest diff_id = {{0}};
    struct layer_result result = {0};
    struct error error = {0};

    cleanup_fd int output = memfd_create("layer", MFD_CLOEXEC);
    assert(output >= 0);
    if (layer_build(&source, &diff_id, &limits, output, &result, &error))
        assert(erofs_file_check(output, result.erofs_size_bytes, &error));
    else
        assert(error.code == ERROR_UNSUPPORTED_LAYER || error.code == ERROR_LAYER_TOO_LARGE);
    return 0;
}
