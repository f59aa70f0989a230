#include "server/cache_lease.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct cache_lease {
    struct read_cache *cache;
    struct catalogue *catalogue; /* not owned; NULL: none */
    int64_t max_staleness_us;
    _Atomic int64_t proven_us;   /* memory is right as of then; 0: never */
    _Atomic int64_t missed_us;   /* of the last question that was late; 0: none ever */
    _Atomic int64_t distrust_us; /* what was asked before proves nothing */
    _Atomic int64_t wrong_us;    /* the same, and what was acknowledged here is not evicted */
    pthread_mutex_t lock;        /* guards what follows, and evictions by answers */
    char *server;                /* owned; NULL: nobody was asked yet */
    char *snapshot;              /* owned; all changes visible in it were evicted */
    uint64_t epoch;              /* counts servers */
};

/* Goes on while the machine sleeps: so does the rest of the fleet. */
static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct cache_lease *cache_lease_new(struct read_cache *cache, struct catalogue *catalogue,
                                    uint64_t max_staleness_ms)
{
    struct cache_lease *lease = calloc(1, sizeof(*lease));
    if (!lease)
        abort();
    lease->cache = cache;
    lease->catalogue = catalogue;
    lease->max_staleness_us = (int64_t)max_staleness_ms * 1000;
    pthread_mutex_init(&lease->lock, NULL);
    return lease;
}

void cache_lease_free(struct cache_lease *lease)
{
    if (!lease)
        return;
    pthread_mutex_destroy(&lease->lock);
    free(lease->server);
    free(lease->snapshot);
    free(lease);
}

void cache_lease_miss_answer(struct cache_lease *lease, int64_t asked_us)
{
    atomic_store(&lease->missed_us, asked_us);
}

bool cache_lease_is_silent(const struct cache_lease *lease)
{
    return atomic_load(&lease->proven_us) < atomic_load(&lease->missed_us);
}

bool cache_lease_is_wrong(const struct cache_lease *lease)
{
    return atomic_load(&lease->proven_us) < atomic_load(&lease->wrong_us);
}

bool cache_lease_is_valid(const struct cache_lease *lease)
{
    int64_t proven_us = atomic_load(&lease->proven_us);
    return proven_us != 0 && proven_us >= atomic_load(&lease->distrust_us) &&
           now_us() - proven_us < lease->max_staleness_us;
}

int64_t cache_lease_age_us(const struct cache_lease *lease)
{
    int64_t proven_us = atomic_load(&lease->proven_us);
    return proven_us != 0 ? now_us() - proven_us : INT64_MAX;
}

void cache_lease_distrust(struct cache_lease *lease)
{
    atomic_store(&lease->distrust_us, now_us());
}

void cache_lease_ask(struct cache_lease *lease, struct arena *arena,
                     struct lease_question *question)
{
    /* Half of what the log keeps: the rest is for transactions and clocks. */
    const int64_t fallen_behind_us = (int64_t)CHANGES_KEPT_SECONDS / 2 * 1000000;
    pthread_mutex_lock(&lease->lock);
    bool known = lease->snapshot && cache_lease_age_us(lease) < fallen_behind_us;
    *question = (struct lease_question){
        .snapshot = known ? arena_strdup(arena, lease->snapshot) : NULL,
        .asked_us = now_us(),
        .epoch = lease->epoch,
    };
    pthread_mutex_unlock(&lease->lock);
}

static void replace(char **slot, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    free(*slot);
    *slot = copy;
}

/* Another server, or the same one after a restart, which may have lost what was in flight:
 * its moments do not compare with those we know. */
static void begin_anew(struct cache_lease *lease, const struct changes *changes)
{
    /* Before the eviction: who reads the old one after it has asked before, and has no ticket. */
    if (lease->catalogue && lease->server)
        catalogue_distrust(lease->catalogue);
    read_cache_evict_all(lease->cache);
    replace(&lease->server, changes->server);
    replace(&lease->snapshot, changes->snapshot);
    lease->epoch++;
}

static void evict_changes(struct cache_lease *lease, const struct changes *changes)
{
    read_cache_evict_changes(lease->cache, changes);
    if (snapshot_progress(changes->snapshot) > snapshot_progress(lease->snapshot))
        replace(&lease->snapshot, changes->snapshot);
}

bool cache_lease_answer(struct cache_lease *lease, const struct lease_question *question,
                        const struct changes *changes)
{
    struct changes effective = *changes;
    effective.everything |= !question->snapshot;
    pthread_mutex_lock(&lease->lock);
    bool usable = question->epoch == lease->epoch;
    if (usable && (!lease->server || strcmp(lease->server, changes->server) != 0))
        begin_anew(lease, changes);
    else if (usable)
        evict_changes(lease, &effective);
    if (usable && question->asked_us > atomic_load(&lease->proven_us))
        atomic_store(&lease->proven_us, question->asked_us);
    pthread_mutex_unlock(&lease->lock);
    return usable;
}

bool cache_lease_renew(struct cache_lease *lease, struct catalogue *catalogue, struct error *error)
{
    enum { TRIES = 2 }; /* the answer of the first may come from another server than the last one */
    cleanup_arena struct arena arena = {0};
    for (int i = 0; i < TRIES; i++) {
        struct lease_question question;
        struct changes changes;
        cache_lease_ask(lease, &arena, &question);
        if (!catalogue_read_changes(catalogue, question.snapshot, &arena, &changes, error))
            return false;
        if (cache_lease_answer(lease, &question, &changes))
            return true;
    }
    error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
              "PostgreSQL was replaced by another one meanwhile");
    error->retry_after_seconds = 1;
    return false;
}

void cache_lease_catch_up(struct cache_lease *lease, struct catalogue *catalogue)
{
    struct error why;
    if (cache_lease_renew(lease, catalogue, &why))
        return;
    cache_lease_distrust(lease);
    atomic_store(&lease->wrong_us, now_us());
}
