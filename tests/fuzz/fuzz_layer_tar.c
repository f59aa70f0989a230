/* store/layer.h: the input is a tar. What layer_build() makes of it, its own reader
 * must find whole. */
#include "scratch_file.h"
#include "store/compose.h"
#include "tar_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct layer_result result = {0};
    struct error error = {0};
    int output = scratch_file(0);
    if (tar_input_build(data, size_bytes, output, &result, &error))
        assert(erofs_file_check(output, result.erofs_size_bytes, &error));
    else
        assert(error.code == ERROR_UNSUPPORTED_LAYER || error.code == ERROR_LAYER_TOO_LARGE);
    return 0;
}
