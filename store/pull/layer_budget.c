#include "store/pull/layer_budget.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { CANCEL_SLICE_MS = 100 }; /* how late a cancel may be seen */

/* Who waits; on its own stack. */
struct waiter {
    struct waiter *next;
    struct layer_share *share;
    bool granted;
};

struct layer_budget {
    unsigned slots;
    pthread_mutex_t mutex; /* guards what follows, the shares and the waiters */
    pthread_cond_t granted;
    unsigned used;
    struct waiter *first;
};

struct layer_budget *layer_budget_new(unsigned slots)
{
    struct layer_budget *budget = calloc(1, sizeof(*budget));
    if (!budget)
        abort();
    budget->slots = slots;
    pthread_mutex_init(&budget->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&budget->granted, &attributes);
    pthread_condattr_destroy(&attributes);
    return budget;
}

void layer_budget_free(struct layer_budget *budget)
{
    if (!budget)
        return;
    pthread_cond_destroy(&budget->granted);
    pthread_mutex_destroy(&budget->mutex);
    free(budget);
}

static void count(struct layer_budget *budget, struct layer_share *share)
{
    budget->used++;
    share->used++;
}

/* With the mutex held, as what follows. */
static bool try_now(struct layer_budget *budget, struct layer_share *share)
{
    bool is_free = budget->used < budget->slots && !budget->first;
    if (!is_free && share->used > 0)
        return false;
    count(budget, share);
    return true;
}

static void join_line(struct layer_budget *budget, struct waiter *waiter)
{
    struct waiter **slot = &budget->first;
    while (*slot)
        slot = &(*slot)->next;
    *slot = waiter;
}

static void leave_line(struct layer_budget *budget, const struct waiter *waiter)
{
    struct waiter **slot = &budget->first;
    while (*slot != waiter)
        slot = &(*slot)->next;
    *slot = waiter->next;
}

static void serve_line(struct layer_budget *budget)
{
    while (budget->first && budget->used < budget->slots) {
        struct waiter *waiter = budget->first;
        leave_line(budget, waiter);
        count(budget, waiter->share);
        waiter->granted = true;
    }
    pthread_cond_broadcast(&budget->granted);
}

static struct timespec next_look(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += CANCEL_SLICE_MS * 1000000L;
    time.tv_sec += time.tv_nsec / 1000000000L;
    time.tv_nsec %= 1000000000L;
    return time;
}

/* A pull whose last layer ends while others of it wait is one that builds nothing. */
static bool wait_in_line(struct layer_budget *budget, struct layer_share *share,
                         const atomic_bool *cancel)
{
    struct waiter waiter = {.share = share};
    join_line(budget, &waiter);
    while (!waiter.granted && !atomic_load(cancel)) {
        struct timespec until = next_look();
        pthread_cond_timedwait(&budget->granted, &budget->mutex, &until);
        if (!waiter.granted && share->used == 0) {
            leave_line(budget, &waiter);
            count(budget, share);
            return true;
        }
    }
    if (!waiter.granted)
        leave_line(budget, &waiter);
    return waiter.granted;
}

bool layer_budget_try(struct layer_budget *budget, struct layer_share *share)
{
    pthread_mutex_lock(&budget->mutex);
    bool taken = try_now(budget, share);
    pthread_mutex_unlock(&budget->mutex);
    return taken;
}

bool layer_budget_take(struct layer_budget *budget, struct layer_share *share,
                       const atomic_bool *cancel, struct error *error)
{
    pthread_mutex_lock(&budget->mutex);
    bool taken = try_now(budget, share) || wait_in_line(budget, share, cancel);
    pthread_mutex_unlock(&budget->mutex);
    return taken || error_set(error, ERROR_PULL_CANCELLED, "the pull was cancelled");
}

void layer_budget_give(struct layer_budget *budget, struct layer_share *share)
{
    pthread_mutex_lock(&budget->mutex);
    budget->used--;
    share->used--;
    serve_line(budget);
    pthread_mutex_unlock(&budget->mutex);
}
