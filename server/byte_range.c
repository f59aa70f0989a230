#include "server/byte_range.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    GAP_MAX_BYTES = 128, /* about what a part costs in headers */
};

/* Reads digits; a number too large for us is as good as the largest. */
static bool take_number(const char **at, uint64_t *value)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0)
        return false;
    *value = strtoull(*at, NULL, 10);
    *at += digits;
    return true;
}

/* One range as it is written; false: it is not valid. */
static bool take_range(const char **at, uint64_t total_bytes, struct byte_range *range,
                       bool *satisfiable)
{
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    bool from_end = **at == '-';
    if (from_end) {
        (*at)++;
        if (!take_number(at, &last))
            return false;
        first = last < total_bytes ? total_bytes - last : 0;
        *satisfiable = last > 0 && total_bytes > 0;
        last = UINT64_MAX;
    } else {
        if (!take_number(at, &first) || *(*at)++ != '-')
            return false;
        if (**at >= '0' && **at <= '9' && !take_number(at, &last))
            return false;
        *satisfiable = first < total_bytes;
    }
    if (last < first)
        return false;
    if (*satisfiable)
        *range = (struct byte_range){first, (last < total_bytes ? last + 1 : total_bytes) - first};
    return true;
}

static uint64_t end_of(const struct byte_range *range)
{
    return range->offset + range->size_bytes;
}

static bool is_near(const struct byte_range *one, const struct byte_range *other)
{
    const struct byte_range *lower = one->offset <= other->offset ? one : other;
    const struct byte_range *upper = lower == one ? other : one;
    return upper->offset <= end_of(lower) || upper->offset - end_of(lower) <= GAP_MAX_BYTES;
}

static void widen(struct byte_range *range, const struct byte_range *other)
{
    uint64_t end = end_of(range) > end_of(other) ? end_of(range) : end_of(other);
    range->offset = range->offset < other->offset ? range->offset : other->offset;
    range->size_bytes = end - range->offset;
}

/* Takes the place of the first one that it is near to. */
static void add_range(struct byte_ranges *ranges, struct byte_range range)
{
    size_t place = ranges->count;
    for (size_t i = 0; i < ranges->count;) {
        if (!is_near(&ranges->each[i], &range)) {
            i++;
            continue;
        }
        widen(&range, &ranges->each[i]);
        memmove(&ranges->each[i], &ranges->each[i + 1],
                (ranges->count - i - 1) * sizeof(ranges->each[0]));
        ranges->count--;
        place = i < place ? i : place;
        i = 0; /* it grew: others may be near now */
    }
    memmove(&ranges->each[place + 1], &ranges->each[place],
            (ranges->count - place) * sizeof(ranges->each[0]));
    ranges->each[place] = range;
    ranges->count++;
}

enum range_kind byte_ranges_parse(const char *header, uint64_t total_bytes,
                                  struct byte_ranges *ranges)
{
    *ranges = (struct byte_ranges){0};
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    size_t seen = 0;
    for (const char *at = header + 6; *at;) {
        struct byte_range range;
        bool satisfiable = false;
        if (*at == ',') { /* an empty member is none (RFC 9110, 5.6.1) */
            at += 1 + strspn(at + 1, " \t");
            continue;
        }
        if (!take_range(&at, total_bytes, &range, &satisfiable) || ++seen > BYTE_RANGES_MAX)
            return RANGE_WHOLE;
        if (satisfiable)
            add_range(ranges, range);
        at += strspn(at, " \t");
        if (*at && *at != ',')
            return RANGE_WHOLE;
    }
    if (seen == 0)
        return RANGE_WHOLE;
    return ranges->count > 0 ? RANGE_PART : RANGE_UNSATISFIABLE;
}
