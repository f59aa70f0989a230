/* A pull that is to end early: a flag that others set, and that whoever works for the pull looks
 * at. */
#ifndef LARDER_STORE_CANCEL_H
#define LARDER_STORE_CANCEL_H

#include "store/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether to go on; else fails with ERROR_PULL_CANCELLED. NULL: nobody can cancel. */
[[nodiscard]] static inline bool cancel_check(const atomic_bool *cancel, struct error *error)
{
    return !cancel || !atomic_load_explicit(cancel, memory_order_relaxed) ||
           error_set(error, ERROR_PULL_CANCELLED, "the pull was cancelled");
}

#endif
