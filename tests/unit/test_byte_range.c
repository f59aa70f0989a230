#include "server/byte_range.h"

#include <criterion/criterion.h>

Test(byte_range, one_range_is_taken_and_what_may_be_ignored_is)
{
    static const struct {
        const char *header;
        uint64_t total;
        enum range_kind kind;
        uint64_t offset;
        uint64_t size;
    } rows[] = {
        {NULL, 100, RANGE_WHOLE, 0, 0},
        {"bytes=0-", 100, RANGE_PART, 0, 100},
        {"bytes=0-0", 100, RANGE_PART, 0, 1},
        {"Bytes=10-19", 100, RANGE_PART, 10, 10},
        {"bytes=10-1000", 100, RANGE_PART, 10, 90},
        {"bytes=99-", 100, RANGE_PART, 99, 1},
        {"bytes=-1", 100, RANGE_PART, 99, 1},
        {"bytes=-1000", 100, RANGE_PART, 0, 100},
        {"bytes=5-99999999999999999999999", 100, RANGE_PART, 5, 95},
        {"bytes=100-", 100, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999999-", 100, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 100, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-0", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-1,5-6", 100, RANGE_WHOLE, 0, 0},
        {"bytes=9-5", 100, RANGE_WHOLE, 0, 0},
        {"bytes=a-b", 100, RANGE_WHOLE, 0, 0},
        {"bytes=-", 100, RANGE_WHOLE, 0, 0},
        {"bytes=", 100, RANGE_WHOLE, 0, 0},
        {"bytes=1", 100, RANGE_WHOLE, 0, 0},
        {"bytes= 1-2", 100, RANGE_WHOLE, 0, 0},
        {"lines=1-2", 100, RANGE_WHOLE, 0, 0},
        {"", 100, RANGE_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t offset = 0;
        uint64_t size = 0;
        enum range_kind kind = byte_range_parse(rows[i].header, rows[i].total, &offset, &size);
        cr_expect_eq(kind, rows[i].kind, "%s of %llu: expected kind %d, got %d", rows[i].header,
                     (unsigned long long)rows[i].total, (int)rows[i].kind, (int)kind);
        if (kind == RANGE_PART)
            cr_expect(offset == rows[i].offset && size == rows[i].size, "%s: got %llu+%llu",
                      rows[i].header, (unsigned long long)offset, (unsigned long long)size);
    }
}
