#include "server/inventory_thread.h"

#include "server/clock.h"
#include "store/catalogue/inventory.h"
#include "store/cleanup.h"

#include <pthread.h>

enum {
    COUNT_EVERY_MS = 5000,
    PAUSE_FACTOR = 200, /* of the time that counting took */
};

struct inventory_thread {
    struct catalogue *catalogue;
    const struct log *log;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool stopping;
};

static unsigned count_once(const struct inventory_thread *inventory)
{
    struct error error;
    int64_t begun_us = clock_now_us();
    /* That the catalogue is away, readiness says; the time of the last count stays. */
    if (!catalogue_take_inventory(inventory->catalogue, &error) &&
        error.code != ERROR_CATALOGUE_UNAVAILABLE)
        LOG(inventory->log, LOG_WARNING, "counting the catalogue failed",
            FIELD_TEXT("detail", error.message));
    int64_t pause_ms = (clock_now_us() - begun_us) * PAUSE_FACTOR / 1000;
    return pause_ms > COUNT_EVERY_MS ? (unsigned)pause_ms : COUNT_EVERY_MS;
}

/* False when it is time to stop. */
static bool sleep_ms(struct inventory_thread *inventory, unsigned pause_ms)
{
    struct timespec at = clock_after_ms(pause_ms);
    pthread_mutex_lock(&inventory->lock);
    int late = 0;
    while (!inventory->stopping && late == 0)
        late = pthread_cond_timedwait(&inventory->changed, &inventory->lock, &at);
    bool stopping = inventory->stopping;
    pthread_mutex_unlock(&inventory->lock);
    return !stopping;
}

static void *run(void *argument)
{
    struct inventory_thread *inventory = argument;
    while (sleep_ms(inventory, count_once(inventory)))
        continue;
    return NULL;
}

struct inventory_thread *inventory_thread_start(struct catalogue *catalogue, const struct log *log,
                                                struct error *error)
{
    struct inventory_thread *inventory = calloc(1, sizeof(*inventory));
    if (!inventory)
        abort();
    *inventory = (struct inventory_thread){.catalogue = catalogue, .log = log};
    clock_cond_init(&inventory->changed);
    pthread_mutex_init(&inventory->lock, NULL);
    int failed = pthread_create(&inventory->thread, NULL, run, inventory);
    if (!failed)
        return inventory;
    error_set_errno(error, ERROR_INTERNAL, failed, "The inventory's thread does not start");
    free(inventory);
    return NULL;
}

void inventory_thread_stop(struct inventory_thread *inventory)
{
    if (!inventory)
        return;
    pthread_mutex_lock(&inventory->lock);
    inventory->stopping = true;
    pthread_cond_signal(&inventory->changed);
    pthread_mutex_unlock(&inventory->lock);
    pthread_join(inventory->thread, NULL);
    pthread_cond_destroy(&inventory->changed);
    pthread_mutex_destroy(&inventory->lock);
    free(inventory);
}
