#include "server/cache_poller.h"

#include "server/cache_lease.h"
#include "server/clock.h"
#include "server/jitter.h"
#include "server/periodic.h"

enum {
    BEATS_A_LEASE = 8, /* several may be late or lost */
    BEAT_MAX_MS = 125, /* however long the lease is */
    AWAY_PAUSE_MS = 250,
    TIMEOUT_MS = 1000,    /* of a statement, and to connect */
    TRIM_FIRST_MS = 2000, /* nodes may be started anew more often than each minute */
    TRIM_EVERY_MS = 60 * 1000,
    TRIM_NEXT_MS = 1000, /* what is left of a long log; heartbeats come between */
};

struct cache_poller {
    struct node *node;
    struct catalogue *catalogue; /* owned; of one session */
    unsigned beat_ms;
    int64_t trim_at_us; /* the thread's own, once there is one */
    bool is_away;       /* the same: was told to the log */
    struct periodic *thread;
};

static void tell(struct cache_poller *poller, bool renewed, const struct error *why)
{
    struct node *node = poller->node;
    if (!renewed && !poller->is_away)
        LOG(&node->log, LOG_WARNING, "the catalogue does not answer: reads go on from memory",
            FIELD_TEXT("detail", why->message));
    if (renewed && poller->is_away)
        LOG(&node->log, LOG_INFO, "the catalogue answers again", FIELD_TEXT("detail", NULL));
    poller->is_away = !renewed;
}

/* A node that looked a moment ago, for a fence, need not look again. */
static bool is_fresh(const struct cache_poller *poller)
{
    return cache_lease_is_valid(poller->node->lease) &&
           cache_lease_age_us(poller->node->lease) < (int64_t)poller->beat_ms * 1000 / 2;
}

static void trim(struct cache_poller *poller)
{
    struct error ignored; /* the next node or the next minute does it */
    bool is_more = false;
    if (clock_now_us() < poller->trim_at_us)
        return;
    (void)!catalogue_trim_changes(poller->catalogue, &is_more, &ignored);
    unsigned pause_ms = jitter_ms(is_more ? TRIM_NEXT_MS : TRIM_EVERY_MS);
    poller->trim_at_us = clock_now_us() + (int64_t)pause_ms * 1000;
}

/* How long to sleep after it. On a busy node fences are all that renews: what else is to be done is
 * done all the same. One that was away comes back by its own connection. */
static unsigned beat(void *context, const atomic_bool *)
{
    struct cache_poller *poller = context;
    struct error why;
    bool fresh = is_fresh(poller) && !poller->is_away;
    bool renewed = fresh || cache_lease_renew(poller->node->lease, poller->catalogue, &why);
    tell(poller, renewed, &why);
    if (!renewed)
        return jitter_ms(AWAY_PAUSE_MS);
    trim(poller);
    return fresh ? poller->beat_ms / 2 : poller->beat_ms;
}

static struct catalogue *open_catalogue(const struct node *node, struct error *error)
{
    struct catalogue_config config = {.conninfo = node->conninfo,
                                      .name = "larder heartbeat",
                                      .sibling = node->catalogue,
                                      .is_heartbeat = true,
                                      .max_sessions = 1,
                                      .acquire_timeout_ms = TIMEOUT_MS,
                                      .statement_timeout_ms = TIMEOUT_MS};
    return catalogue_open(&config, error);
}

struct cache_poller *cache_poller_start(struct node *node, struct error *error)
{
    struct cache_poller *poller = calloc(1, sizeof(*poller));
    if (!poller)
        abort();
    uint64_t beat_ms = node->options->max_staleness_ms / BEATS_A_LEASE;
    poller->node = node;
    poller->beat_ms = beat_ms < BEAT_MAX_MS ? (unsigned)beat_ms + 1 : BEAT_MAX_MS;
    poller->trim_at_us = clock_now_us() + (int64_t)jitter_ms(TRIM_FIRST_MS) * 1000;
    poller->catalogue = open_catalogue(node, error);
    if (!poller->catalogue) {
        free(poller);
        return NULL;
    }
    (void)beat(poller, NULL);
    poller->thread = periodic_start("The read cache's heartbeat", beat, poller, error);
    if (poller->thread)
        return poller;
    catalogue_close(poller->catalogue);
    free(poller);
    return NULL;
}

void cache_poller_stop(struct cache_poller *poller)
{
    if (!poller)
        return;
    periodic_stop(poller->thread);
    catalogue_close(poller->catalogue);
    free(poller);
}
