#include "store/pull/layer_budget.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

TestSuite(layer_budget, .timeout = 60);

static const atomic_bool never = false;

struct taker {
    struct layer_budget *budget;
    struct layer_share *share;
    const atomic_bool *cancel;
    atomic_bool done;
    bool taken;
    struct error error;
};

static void *take(void *context)
{
    struct taker *taker = context;
    taker->taken = layer_budget_take(taker->budget, taker->share, taker->cancel, &taker->error);
    atomic_store(&taker->done, true);
    return NULL;
}

/* Long enough that a thread which need not wait is done. */
static void give_time(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
}

Test(layer_budget, pulls_share_the_slots_and_each_gets_one)
{
    struct layer_budget *budget = layer_budget_new(2);
    struct layer_share one = {0};
    struct layer_share other = {0};
    cr_expect(layer_budget_try(budget, &one));
    cr_expect(layer_budget_try(budget, &one));
    cr_expect_not(layer_budget_try(budget, &one), "both slots are taken");
    cr_expect(layer_budget_try(budget, &other), "who has none gets one on top");
    cr_expect_not(layer_budget_try(budget, &other), "but no second");
    layer_budget_give(budget, &one);
    cr_expect_not(layer_budget_try(budget, &other), "what was on top is given back first");
    layer_budget_give(budget, &one);
    cr_expect(layer_budget_try(budget, &other));
    layer_budget_give(budget, &other);
    layer_budget_give(budget, &other);
    layer_budget_free(budget);
}

Test(layer_budget, who_waits_is_served_in_turn)
{
    struct layer_budget *budget = layer_budget_new(1);
    struct layer_share one = {0};
    struct layer_share other = {0};
    cr_assert(layer_budget_try(budget, &one));
    cr_assert(layer_budget_try(budget, &other), "on top");
    struct taker waits = {.budget = budget, .share = &one, .cancel = &never};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, take, &waits), 0);
    give_time();
    cr_expect_not(atomic_load(&waits.done), "the only slot is taken");
    layer_budget_give(budget, &other);
    give_time();
    cr_expect_not(atomic_load(&waits.done), "that was the one on top");
    cr_expect(layer_budget_try(budget, &other), "a pull that builds nothing does not wait");
    layer_budget_give(budget, &other);
    layer_budget_give(budget, &one);
    pthread_join(thread, NULL);
    cr_expect(waits.taken, "%s", waits.error.message);
    layer_budget_give(budget, &one);
    layer_budget_free(budget);
}

Test(layer_budget, a_cancel_ends_the_waiting_and_costs_no_slot)
{
    struct layer_budget *budget = layer_budget_new(1);
    struct layer_share share = {0};
    atomic_bool cancel = false;
    cr_assert(layer_budget_try(budget, &share));
    struct taker first = {.budget = budget, .share = &share, .cancel = &cancel};
    struct taker second = {.budget = budget, .share = &share, .cancel = &never};
    pthread_t threads[2];
    cr_assert_eq(pthread_create(&threads[0], NULL, take, &first), 0);
    give_time();
    cr_assert_eq(pthread_create(&threads[1], NULL, take, &second), 0);
    give_time();
    atomic_store(&cancel, true);
    pthread_join(threads[0], NULL);
    cr_expect_not(first.taken);
    cr_expect_eq(first.error.code, ERROR_PULL_CANCELLED);
    layer_budget_give(budget, &share);
    pthread_join(threads[1], NULL);
    cr_expect(second.taken, "who stood behind moved up");
    cr_expect_not(layer_budget_try(budget, &share), "and has the only slot");
    layer_budget_give(budget, &share);
    cr_expect_eq(share.used, 0);
    layer_budget_free(budget);
}
