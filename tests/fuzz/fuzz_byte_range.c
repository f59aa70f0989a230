/* server/byte_range.h: the first eight bytes are the file's size, the rest is the header. Each
 * range lies within the file and is not empty; all together are no more than the file. */
#include "server/byte_range.h"
#include "store/cleanup.h"
#include "text_input.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    uint64_t total;
    struct byte_ranges ranges;
    if (size_bytes < sizeof(total))
        return -1;
    memcpy(&total, data, sizeof(total));
    cleanup_free char *header = text_input(data + sizeof(total), size_bytes - sizeof(total));
    if (byte_ranges_parse(header, total, &ranges) != RANGE_PART)
        return 0;
    uint64_t sum = 0;
    assert(ranges.count > 0 && ranges.count <= BYTE_RANGES_MAX);
    for (size_t i = 0; i < ranges.count; i++) {
        const struct byte_range *range = &ranges.each[i];
        assert(range->size_bytes > 0 && range->offset < total);
        assert(range->size_bytes <= total - range->offset && range->size_bytes <= total - sum);
        sum += range->size_bytes;
    }
    return 0;
}
