/* server/byte_range.h: the first eight bytes are the file's size, the rest is the header. A
 * part lies within the file and is not empty. */
#include "server/byte_range.h"
#include "store/cleanup.h"
#include "text_input.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    uint64_t total;
    uint64_t offset = UINT64_MAX;
    uint64_t size = UINT64_MAX;
    if (size_bytes < sizeof(total))
        return -1;
    memcpy(&total, data, sizeof(total));
    cleanup_free char *header = text_input(data + sizeof(total), size_bytes - sizeof(total));
    if (byte_range_parse(header, total, &offset, &size) == RANGE_PART)
        assert(size > 0 && offset < total && size <= total - offset);
    return 0;
}
