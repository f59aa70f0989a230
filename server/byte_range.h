/* The byte ranges of a Range header (RFC 9110, 14.1.2). */
#ifndef LARDER_SERVER_BYTE_RANGE_H
#define LARDER_SERVER_BYTE_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BYTE_RANGES_MAX = 16 };

struct byte_range {
    uint64_t offset;
    uint64_t size_bytes; /* never 0 */
};

/* In the order asked for. They lie within the file, and apart: those that overlap, or nearly
 * touch, are one, so that they never have more bytes than the file. */
struct byte_ranges {
    size_t count;
    struct byte_range each[BYTE_RANGES_MAX];
};

enum range_kind {
    RANGE_WHOLE,         /* none, or what may be ignored: another unit, not valid, too many */
    RANGE_PART,          /* there is one at least */
    RANGE_UNSATISFIABLE, /* each of them starts behind the end */
};

/* `header` is NULL when there is none. */
[[nodiscard]] enum range_kind byte_ranges_parse(const char *header, uint64_t total_bytes,
                                                struct byte_ranges *ranges);

#endif
