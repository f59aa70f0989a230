/* erofs_file_check(): the input is an EROFS file. It is whole or damaged, and nothing
 * else happens. */
#include "image_input.h"
#include "store/compose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct error error = {0};
    int fd = image_input_file(0, data, size_bytes);
    if (!erofs_file_check(fd, image_input_size(size_bytes), &error))
        assert(error.code == ERROR_DIGEST_MISMATCH);
    return 0;
}
