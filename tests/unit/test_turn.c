#include "store/turn.h"

#include "store/metrics.h"

#include <criterion/criterion.h>
#include <unistd.h>

enum { A_MINUTE_US = 60 * 1000 * 1000 };

static struct turn turn;

static void *give_it_back_soon(void *unused)
{
    (void)unused;
    usleep(20 * 1000);
    turn_give_back(&turn);
    return NULL;
}

Test(turn, who_waits_gets_it_when_it_is_given_back)
{
    pthread_t thread;
    turn_init(&turn);
    cr_assert(turn_take(&turn, metric_now_us()), "nobody has it");
    pthread_create(&thread, NULL, give_it_back_soon, NULL);
    cr_expect(turn_take(&turn, metric_now_us() + A_MINUTE_US));
    pthread_join(thread, NULL);
    turn_give_back(&turn);
    turn_destroy(&turn);
}

Test(turn, who_waits_in_vain_does_not_have_it)
{
    turn_init(&turn);
    cr_assert(turn_take(&turn, metric_now_us()));
    cr_expect_not(turn_take(&turn, metric_now_us() + 1000));
    turn_give_back(&turn);
    cr_expect(turn_take(&turn, metric_now_us()), "it was not taken by who had waited");
    turn_give_back(&turn);
    turn_destroy(&turn);
}
