#include "server/slowdown.h"

#include <criterion/criterion.h>

static unsigned allowed_of(struct slowdown *slowdown, uint32_t address, unsigned tries,
                           int64_t now_ms)
{
    unsigned allowed = 0;
    for (unsigned i = 0; i < tries; i++)
        allowed += slowdown_count(slowdown, &address, sizeof(address), now_ms);
    return allowed;
}

Test(slowdown, a_few_at_once_and_then_one_a_second)
{
    struct slowdown *slowdown = slowdown_new();
    cr_expect_eq(allowed_of(slowdown, 1, 100, 5000), 10);
    cr_expect_eq(allowed_of(slowdown, 1, 100, 5999), 0);
    cr_expect_eq(allowed_of(slowdown, 1, 100, 6000), 1);
    cr_expect_eq(allowed_of(slowdown, 1, 100, 9000), 3);
    cr_expect_eq(allowed_of(slowdown, 1, 100, 3600000), 10, "no more is saved up");
    slowdown_free(slowdown);
}

Test(slowdown, others_are_not_slowed)
{
    struct slowdown *slowdown = slowdown_new();
    unsigned slowed = 0;
    (void)allowed_of(slowdown, 1, 100, 5000);
    for (uint32_t address = 2; address < 102; address++)
        slowed += !allowed_of(slowdown, address, 1, 5000);
    cr_expect_leq(slowed, 1, "%u of 100 share the counter of one", slowed);
    slowdown_free(slowdown);
}
