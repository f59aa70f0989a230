#include "server/byte_range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Reads digits; a number too large for us is as good as the largest. */
static bool take_number(const char **at, uint64_t *value)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0)
        return false;
    errno = 0;
    *value = strtoull(*at, NULL, 10);
    *at += digits;
    return true;
}

static enum range_kind take_suffix(const char *at, uint64_t total_bytes, uint64_t *offset,
                                   uint64_t *size_bytes)
{
    uint64_t length = 0;
    if (!take_number(&at, &length) || *at)
        return RANGE_WHOLE;
    if (length == 0 || total_bytes == 0)
        return RANGE_UNSATISFIABLE;
    *size_bytes = length < total_bytes ? length : total_bytes;
    *offset = total_bytes - *size_bytes;
    return RANGE_PART;
}

enum range_kind byte_range_parse(const char *header, uint64_t total_bytes, uint64_t *offset,
                                 uint64_t *size_bytes)
{
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    const char *at = header + 6;
    if (*at == '-')
        return take_suffix(at + 1, total_bytes, offset, size_bytes);
    if (!take_number(&at, &first) || *at != '-')
        return RANGE_WHOLE;
    at++;
    if (*at && !take_number(&at, &last))
        return RANGE_WHOLE;
    if (*at || last < first)
        return RANGE_WHOLE;
    if (first >= total_bytes)
        return RANGE_UNSATISFIABLE;
    *offset = first;
    *size_bytes = (last < total_bytes ? last + 1 : total_bytes) - first;
    return RANGE_PART;
}
