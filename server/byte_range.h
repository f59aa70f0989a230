/* A single byte range of a Range header (RFC 9110, 14.1.2). */
#ifndef LARDER_SERVER_BYTE_RANGE_H
#define LARDER_SERVER_BYTE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
    RANGE_WHOLE,         /* none, or one that may be ignored: several, another unit, not valid */
    RANGE_PART,          /* *offset and *size_bytes are set */
    RANGE_UNSATISFIABLE, /* it starts behind the end */
};

/* `header` is NULL when there is none. */
[[nodiscard]] enum range_kind byte_range_parse(const char *header, uint64_t total_bytes,
                                               uint64_t *offset, uint64_t *size_bytes);

#endif
