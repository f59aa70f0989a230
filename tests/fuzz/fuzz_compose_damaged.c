/* compose_fsmeta() over damaged layers: the input is two EROFS files, cut where the
 * first byte says (in blocks). What is composed of them after all, the reader must
 * find whole. */
#include "image_input.h"
#include "store/compose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    if (size_bytes < 1)
        return 0;
    size_t cut = (size_t)data[0] * EROFS_BLOCK_SIZE;
    data++;
    size_bytes--;
    if (cut > size_bytes)
        cut = size_bytes;
    int lower = image_input_file(0, data, cut);
    int upper = image_input_file(1, data + cut, size_bytes - cut);
    const struct compose_layer layers[] = {
        {.fd = lower, .size_bytes = image_input_size(cut)},
        {.fd = upper, .size_bytes = image_input_size(size_bytes - cut)},
    };

    const struct digest manifest = {{0}};
    struct compose_result result = {0};
    struct error error = {0};
    int output = scratch_file(2);
    if (compose_fsmeta(layers, 2, COMPOSE_MAX_TREE_BYTES, &manifest, output, &result, &error))
        assert(erofs_file_check(output, result.fsmeta_size_bytes, &error));
    else
        assert(error.code == ERROR_DIGEST_MISMATCH || error.code == ERROR_UNSUPPORTED_LAYER ||
               error.code == ERROR_LAYER_TOO_LARGE);
    return 0;
}
