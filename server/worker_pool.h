/* The bounded pool of threads for what may block: the catalogue, the disk. Its
 * queue is bounded too; a full one is told at once instead of growing. */
#ifndef LARDER_SERVER_WORKER_POOL_H
#define LARDER_SERVER_WORKER_POOL_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker_pool;

[[nodiscard]] struct worker_pool *worker_pool_start(size_t thread_count, size_t queue_limit,
                                                    struct error *error);

/* False when the queue is full: nothing will run. Any thread. */
[[nodiscard]] bool worker_pool_submit(struct worker_pool *pool, void (*run)(void *context),
                                      void *context);

/* The context of the job that is next, if it was submitted before that moment of clock_now_us(): it
 * will not run. NULL: there is none. Any thread. */
[[nodiscard]] void *worker_pool_take_late(struct worker_pool *pool, int64_t before_us);

/* Whether there was no room in its queue within the last second. Any thread. */
[[nodiscard]] bool worker_pool_is_overloaded(const struct worker_pool *pool);

/* Runs what is queued and joins the threads. Nobody may submit any more. NULL is fine. */
void worker_pool_stop(struct worker_pool *pool);
/* After its stop. NULL is fine. */
void worker_pool_free(struct worker_pool *pool);

#endif
