#include "server/pull_answer.h"

#include <criterion/criterion.h>

Test(pull_answer, the_wait_of_a_prefer_header_is_found_and_bounded)
{
    static const struct {
        const char *header;
        unsigned seconds; /* 0: none */
    } rows[] = {
        {NULL, 0},
        {"", 0},
        {"wait=5", 5},
        {"Wait=5", 5},
        {"respond-async, wait=10", 10},
        {"wait=10, respond-async", 10},
        {"foo;bar=\"a\", wait=7;x=1", 7},
        {"wait=\"12\"", 12},
        {"wait=600", 600},
        {"wait=601", 600},
        {"wait=99999999999999999999", 600},
        {"wait=0", 0},
        {"wait=-1", 0},
        {"wait=", 0},
        {"wait=x", 0},
        {"await=5", 0},
        {",,,", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned seconds = 0;
        bool found = pull_wait_preference(rows[i].header, &seconds);
        cr_expect(found == (rows[i].seconds > 0), "%s", rows[i].header);
        if (found)
            cr_expect_eq(seconds, rows[i].seconds, "%s: expected %u, got %u", rows[i].header,
                         rows[i].seconds, seconds);
    }
}
