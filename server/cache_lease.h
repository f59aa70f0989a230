/* How long the read cache may be believed, and how it is kept in step with the catalogue.
 *
 * Who asks the catalogue what changed (the poller on its heartbeat, a loop's fence, a worker
 * after a write) evicts what did, and so proves that the memory is right as of the moment it
 * asked. That is a lease: it lasts for --max-staleness. Without one, memory is only served
 * while the catalogue is away, marked stale, for --max-stale-if-error.
 *
 *     struct lease_question question;
 *     cache_lease_ask(lease, &arena, &question);      // before the question is sent
 *     … send changes_statement with question.snapshot …
 *     cache_lease_answer(lease, &question, &changes);
 *
 * Any thread. The lease's lock is taken before the cache's.
 */
#ifndef LARDER_SERVER_CACHE_LEASE_H
#define LARDER_SERVER_CACHE_LEASE_H

#include "server/read_cache.h"
#include "store/catalogue/changes.h"

struct cache_lease;

struct lease_question {
    const char *snapshot; /* NULL: what changed cannot be told any more */
    int64_t asked_us;
    uint64_t epoch;
};

/* The cache must outlive it, and the catalogue, whose connections are distrusted when another
 * server answers: what they say is of the one before. NULL: none to tell. */
[[nodiscard]] struct cache_lease *
cache_lease_new(struct read_cache *cache, struct catalogue *catalogue, uint64_t max_staleness_ms);
void cache_lease_free(struct cache_lease *lease);

void cache_lease_ask(struct cache_lease *lease, struct arena *arena,
                     struct lease_question *question);
/* Evicts and renews. False when the question was overtaken by another server's answer and
 * proves nothing: ask again. */
bool cache_lease_answer(struct cache_lease *lease, const struct lease_question *question,
                        const struct changes *changes);

/* Memory is right, but for changes of the last --max-staleness. */
[[nodiscard]] bool cache_lease_is_valid(const struct cache_lease *lease);
/* A question that was asked then is late. */
void cache_lease_miss_answer(struct cache_lease *lease, int64_t asked_us);
/* Nobody was answered who asked when a question that is late was asked, or after it: to wait for
 * PostgreSQL is in vain. */
[[nodiscard]] bool cache_lease_is_silent(const struct cache_lease *lease);
/* A change that was acknowledged here is not evicted yet: memory is wrong, not only old. */
[[nodiscard]] bool cache_lease_is_wrong(const struct cache_lease *lease);
/* Since when it may be wrong, in microseconds; INT64_MAX when it was never right. */
[[nodiscard]] int64_t cache_lease_age_us(const struct cache_lease *lease);

/* A change of our own was made that could not be evicted: only questions that are asked
 * from now on renew. */
void cache_lease_distrust(struct cache_lease *lease);

/* Asks over the pool; with an error the lease is not renewed. */
[[nodiscard]] bool cache_lease_renew(struct cache_lease *lease, struct catalogue *catalogue,
                                     struct error *error);
/* After a write: whatever it changed is evicted, or the lease distrusted. */
void cache_lease_catch_up(struct cache_lease *lease, struct catalogue *catalogue);

#endif
