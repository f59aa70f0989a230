#include "store/registry/rate_limit.h"

#include <criterion/criterion.h>

Test(rate_limit, both_headers_are_read_whatever_their_case)
{
    struct rate_limit rate = {0};
    rate_limit_read(&rate, "RateLimit-Limit", "100;w=21600");
    rate_limit_read(&rate, "ratelimit-remaining", "76;w=21600");
    cr_expect(rate.has_limit && rate.has_remaining);
    cr_expect_eq(rate.limit, 100);
    cr_expect_eq(rate.remaining, 76);
    cr_expect_eq(rate.window_seconds, 21600);
}

Test(rate_limit, a_number_alone_is_enough)
{
    struct rate_limit rate = {0};
    rate_limit_read(&rate, "ratelimit-remaining", "0");
    cr_expect(rate.has_remaining && !rate.has_limit);
    cr_expect_eq(rate.remaining, 0);
    cr_expect_eq(rate.window_seconds, 0);
}

Test(rate_limit, what_makes_no_sense_changes_nothing)
{
    static const char *const rows[][2] = {
        {"ratelimit-limit", ""},
        {"ratelimit-limit", "many"},
        {"ratelimit-limit", "-1"},
        {"ratelimit-limit", "100x"},
        {"ratelimit-limit", "99999999999999999999"},
        {"ratelimit-limit", "100;w=x"},
        {"ratelimit-reset", "100"},
        {"x-ratelimit-limit", "100"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rate_limit rate = {0};
        rate_limit_read(&rate, rows[i][0], rows[i][1]);
        cr_expect(!rate.has_limit && !rate.has_remaining, "%s: %s", rows[i][0], rows[i][1]);
    }
}
