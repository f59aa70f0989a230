#include "server/byte_range.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(byte_range, one_range_is_taken_and_what_is_not_valid_is_ignored)
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
        {"bytes=0-1,5-6", 100, RANGE_PART, 0, 7},
        {"bytes=,0-1,", 100, RANGE_PART, 0, 2},
        {"bytes=5-6,100-", 100, RANGE_PART, 5, 2},
        {"bytes=200-,100-", 100, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-1,9-5", 100, RANGE_WHOLE, 0, 0},
        {"bytes=0-1;5-6", 100, RANGE_WHOLE, 0, 0},
        {"bytes=0-1 5-6", 100, RANGE_WHOLE, 0, 0},
        {"bytes=,", 100, RANGE_WHOLE, 0, 0},
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
        struct byte_ranges ranges;
        enum range_kind kind = byte_ranges_parse(rows[i].header, rows[i].total, &ranges);
        cr_expect_eq(kind, rows[i].kind, "%s of %llu: expected kind %d, got %d", rows[i].header,
                     (unsigned long long)rows[i].total, (int)rows[i].kind, (int)kind);
        if (kind != RANGE_PART)
            continue;
        const struct byte_range *range = &ranges.each[0];
        cr_expect(ranges.count == 1 && range->offset == rows[i].offset &&
                      range->size_bytes == rows[i].size,
                  "%s: got %zu, the first %llu+%llu", rows[i].header, ranges.count,
                  (unsigned long long)range->offset, (unsigned long long)range->size_bytes);
    }
}

/* Of a million bytes. */
Test(byte_range, several_stay_in_order_and_those_that_touch_are_one)
{
    static const struct {
        const char *header;
        const char *ranges; /* offset+size */
    } rows[] = {
        {"bytes=0-9,1000-1009", "0+10 1000+10"},
        {"bytes=1000-1009 ,\t0-9", "1000+10 0+10"},
        {"bytes=0-9,10-19,5000-", "0+20 5000+995000"},
        {"bytes=0-9,138-147,5000-5001", "0+148 5000+2"},
        {"bytes=0-9,139-147,5000-5001", "0+10 139+9 5000+2"},
        {"bytes=5000-5009,0-9,5005-5999", "5000+1000 0+10"},
        {"bytes=0-9,5000-5009,100-4900", "0+5010"},
        {"bytes=9000-9009,0-9,5000-5009,5-5004", "9000+10 0+5010"},
        {"bytes=0-,0-,0-,0-,-1000000", "0+1000000"},
        {"bytes=-5,0-4", "999995+5 0+5"},
        {"bytes=0-0,1000-1000,2000-2000,3000-3000,4000-4000,5000-5000,6000-6000,7000-7000,"
         "8000-8000,9000-9000,10000-10000,11000-11000,12000-12000,13000-13000,14000-14000,"
         "15000-15000",
         "0+1 1000+1 2000+1 3000+1 4000+1 5000+1 6000+1 7000+1 8000+1 9000+1 10000+1 11000+1 "
         "12000+1 13000+1 14000+1 15000+1"},
        {"bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct byte_ranges ranges;
        char text[512] = "";
        size_t length = 0;
        enum range_kind kind = byte_ranges_parse(rows[i].header, 1000000, &ranges);
        cr_expect_eq(kind, rows[i].ranges[0] ? RANGE_PART : RANGE_WHOLE, "%s", rows[i].header);
        for (size_t r = 0; kind == RANGE_PART && r < ranges.count; r++)
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%llu+%llu",
                                       r ? " " : "", (unsigned long long)ranges.each[r].offset,
                                       (unsigned long long)ranges.each[r].size_bytes);
        cr_expect_str_eq(text, rows[i].ranges, "%s: %s, not %s", rows[i].header, text,
                         rows[i].ranges);
    }
}
