/* server/byte_range.h: the first eight bytes are the file's size, the rest is the header. Each
 * range lies within the file and apart from the others. Of a small file, the same header is
 * read once more, byte for byte: all that it asks for is in a range, and ranges begin and end
 * with what it asks for. */
#include "server/byte_range.h"
#include "store/cleanup.h"
#include "text_input.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_FILE_BYTES = 1 << 12 };

/* What is asked for of a small file. */
struct wish {
    uint64_t total;
    uint64_t count; /* of ranges */
    uint64_t bytes; /* how many of them are true */
    bool byte[SMALL_FILE_BYTES];
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void wish_for(struct wish *wish, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i < wish->total && i <= last; i++) {
        wish->bytes += !wish->byte[i];
        wish->byte[i] = true;
    }
}

/* RFC 9110, 14.1.2, of one member without blanks; false: it is none. */
static bool read_member(struct wish *wish, char *member)
{
    char *dash = strchr(member, '-');
    if (!dash || (!is_digit(dash[1]) && dash == member))
        return false;
    for (char *at = member; *at; at++)
        if (!is_digit(*at) && at != dash)
            return false;
    uint64_t first = strtoull(member, NULL, 10);
    uint64_t last = dash[1] ? strtoull(dash + 1, NULL, 10) : UINT64_MAX;
    if (dash == member) {
        first = last < wish->total ? wish->total - last : 0;
        last = last > 0 ? UINT64_MAX : 0;
    }
    if (dash != member && last < first)
        return false;
    if (dash != member || last > 0)
        wish_for(wish, first, last);
    wish->count++;
    return true;
}

static bool read_header(struct wish *wish, char *header)
{
    char *rest = header + 6;
    if (strncasecmp(header, "bytes=", 6) != 0 || *rest == ' ' || *rest == '\t')
        return false;
    for (char *member; (member = strsep(&rest, ","));) {
        if (member > header + 6)
            member += strspn(member, " \t");
        size_t length = strlen(member);
        while (length > 0 && (member[length - 1] == ' ' || member[length - 1] == '\t'))
            member[--length] = '\0';
        if (length > 0 && !read_member(wish, member))
            return false;
    }
    return wish->count > 0 && wish->count <= BYTE_RANGES_MAX;
}

static void check_wish(const struct wish *wish, const struct byte_ranges *ranges)
{
    uint64_t found = 0;
    for (size_t i = 0; i < ranges->count; i++) {
        const struct byte_range *range = &ranges->each[i];
        uint64_t end = range->offset + range->size_bytes;
        assert(wish->byte[range->offset] && wish->byte[end - 1]);
        for (uint64_t at = range->offset; at < end; at++)
            found += wish->byte[at];
    }
    assert(found == wish->bytes);
}

static void check_ranges(const struct byte_ranges *ranges, uint64_t total)
{
    assert(ranges->count > 0 && ranges->count <= BYTE_RANGES_MAX);
    for (size_t i = 0; i < ranges->count; i++) {
        const struct byte_range *range = &ranges->each[i];
        assert(range->size_bytes > 0 && range->offset < total);
        assert(range->size_bytes <= total - range->offset);
        for (size_t j = 0; j < i; j++) {
            const struct byte_range *other = &ranges->each[j];
            assert(range->offset + range->size_bytes < other->offset ||
                   other->offset + other->size_bytes < range->offset);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    uint64_t total;
    struct byte_ranges ranges;
    if (size_bytes < sizeof(total))
        return -1;
    memcpy(&total, data, sizeof(total));
    cleanup_free char *header = text_input(data + sizeof(total), size_bytes - sizeof(total));
    if (byte_ranges_parse(header, total, &ranges) == RANGE_PART)
        check_ranges(&ranges, total);

    struct wish wish = {.total = total % SMALL_FILE_BYTES};
    enum range_kind kind = byte_ranges_parse(header, wish.total, &ranges);
    if (!read_header(&wish, header)) {
        assert(kind == RANGE_WHOLE);
        return 0;
    }
    assert(kind == (wish.bytes > 0 ? RANGE_PART : RANGE_UNSATISFIABLE));
    if (kind == RANGE_PART)
        check_ranges(&ranges, wish.total);
    check_wish(&wish, &ranges);
    return 0;
}
