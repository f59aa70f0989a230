/* How many layers a node builds at once, over all its pulls: each costs a connection to a
 * registry, one to PostgreSQL, a process with its buffers, and a core or two.
 *
 * There are `slots` of them. Who finds none free waits in line, but for a pull that builds
 * nothing at all: it gets one on top, so that no pull waits for the slow registry of another.
 * So at most slots + pulls - 1 layers are built at once. Any thread.
 */
#ifndef LARDER_STORE_PULL_LAYER_BUDGET_H
#define LARDER_STORE_PULL_LAYER_BUDGET_H

#include "store/error.h"

#include <stdatomic.h>

struct layer_budget;

/* One pull's part of the budget; zero-initialised, the budget's to change. */
struct layer_share {
    unsigned used;
};

/* Aborts when out of memory. Nothing may be taken when it is freed; NULL is fine. */
[[nodiscard]] struct layer_budget *layer_budget_new(unsigned slots)
    __attribute__((returns_nonnull));
void layer_budget_free(struct layer_budget *budget);

/* Takes a slot if that needs no waiting. */
[[nodiscard]] bool layer_budget_try(struct layer_budget *budget, struct layer_share *share);

/* Waits for a slot. False, with ERROR_PULL_CANCELLED, when *cancel becomes true. */
[[nodiscard]] bool layer_budget_take(struct layer_budget *budget, struct layer_share *share,
                                     const atomic_bool *cancel, struct error *error);

void layer_budget_give(struct layer_budget *budget, struct layer_share *share);

#endif
