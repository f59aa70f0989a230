#include "server/fence_gate.h"

#include <criterion/criterion.h>

enum { LOOPS = 3 };

static struct fence_gate *gate;
static unsigned woken[LOOPS];
static struct fence_place places[LOOPS];

static void count(void *context)
{
    ++*(unsigned *)context;
}

static void begin(void)
{
    gate = fence_gate_new();
    for (int i = 0; i < LOOPS; i++)
        places[i] = (struct fence_place){.wake = count, .context = &woken[i]};
}

static void end(void)
{
    fence_gate_free(gate);
}

TestSuite(fence_gate, .init = begin, .fini = end);

static uint64_t enter(int loop, int64_t now_us)
{
    uint64_t number = 0;
    return fence_gate_enter(gate, &places[loop], now_us, &number) ? number : 0;
}

Test(fence_gate, a_fence_is_right_for_who_came_before_it_on_any_loop)
{
    uint64_t early = fence_gate_count(gate);
    uint64_t number = enter(0, 0);
    uint64_t late = fence_gate_count(gate);
    cr_assert_not(early < fence_gate_passed(gate), "nothing is proven before it is back");
    fence_gate_leave(gate, number, true);
    cr_assert(early < fence_gate_passed(gate));
    cr_assert_not(late < fence_gate_passed(gate), "it came after the fence was sent");
}

Test(fence_gate, one_is_on_its_way_and_the_others_are_woken_once_it_is_back)
{
    uint64_t number = enter(0, 0);
    cr_assert_eq(enter(1, 1), 0);
    cr_assert_eq(enter(1, 2), 0, "it waits already");
    cr_assert_eq(enter(2, 3), 0);
    fence_gate_leave(gate, number, true);
    cr_assert_eq(woken[0], 0);
    cr_assert_eq(woken[1], 1);
    cr_assert_eq(woken[2], 1);
    cr_assert_eq(enter(2, 4), number + 1);
    fence_gate_leave(gate, number + 1, true);
    cr_assert_eq(woken[1], 1, "it did not ask again");
}

Test(fence_gate, one_that_failed_proves_nothing_and_lets_the_next_one_go)
{
    uint64_t came = fence_gate_count(gate);
    uint64_t number = enter(0, 0);
    cr_assert_eq(enter(1, 1), 0);
    fence_gate_leave(gate, number, false);
    cr_assert_not(came < fence_gate_passed(gate));
    cr_assert_eq(woken[1], 1);
    cr_assert_eq(enter(1, 2), number + 1);
}

Test(fence_gate, one_that_is_overdue_holds_nobody_up)
{
    const int64_t overdue_us = FENCE_OVERDUE_MS * 1000;
    uint64_t slow = enter(0, 0);
    cr_assert_eq(enter(1, overdue_us - 1), 0);
    uint64_t next = enter(1, overdue_us);
    cr_assert_eq(next, slow + 1);
    cr_assert_eq(enter(2, overdue_us + 1), 0, "it gathers behind the next one");
    fence_gate_leave(gate, slow, true);
    cr_assert_eq(enter(2, overdue_us + 2), 0, "the next one is still on its way");
    fence_gate_leave(gate, next, true);
    cr_assert_eq(fence_gate_passed(gate), next);
}

Test(fence_gate, one_that_comes_back_after_a_later_one_takes_nothing_back)
{
    uint64_t slow = enter(0, 0);
    uint64_t next = enter(1, FENCE_OVERDUE_MS * 1000);
    fence_gate_leave(gate, next, true);
    fence_gate_leave(gate, slow, true);
    cr_assert_eq(fence_gate_passed(gate), next);
    cr_assert_eq(enter(0, FENCE_OVERDUE_MS * 1000 + 1), next + 1);
}

Test(fence_gate, a_loop_that_ends_is_not_woken)
{
    uint64_t number = enter(0, 0);
    for (int i = 1; i < LOOPS; i++)
        cr_assert_eq(enter(i, 1), 0);
    fence_gate_forget(gate, &places[1]);
    fence_gate_forget(gate, &places[0]);
    fence_gate_leave(gate, number, true);
    cr_assert_eq(woken[1], 0);
    cr_assert_eq(woken[2], 1);
}
