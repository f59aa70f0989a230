#include "server/sweep_thread.h"

#include "server/clock.h"
#include "server/node.h"
#include "server/reaper_thread.h"
#include "store/metrics.h"
#include "store/sweep.h"

#include <stdlib.h>

enum { ASK_EVERY_MS = 60 * 1000 };

struct sweep_thread {
    const struct node *node;
    pthread_t thread;
    atomic_bool stopping; /* read without the mutex by the sweep; set with it */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* stopping */
};

static void count_swept(const struct swept *swept)
{
    metric_add(METRIC_SWEPT_FILES, swept->files);
    metric_add(METRIC_SWEPT_ORPHANS, swept->condemned);
    metric_set(METRIC_SWEEP_TIME, metric_wall_us());
    metric_set(METRIC_SWEEP_FOREIGN_FILES, swept->foreign);
    metric_set(METRIC_SWEEP_UNKNOWN_IMAGES, swept->unknown_images);
}

static void log_swept(const struct node *node, const struct swept *swept)
{
    LOG(&node->log, LOG_INFO, "swept", FIELD_INT("files", swept->files),
        FIELD_INT("condemned", swept->condemned), FIELD_INT("busy", swept->busy),
        FIELD_INT("drafts", swept->drafts));
    if (swept->foreign > 0)
        LOG(&node->log, LOG_WARNING, "files of other names in the blob directory",
            FIELD_INT("files", swept->foreign),
            FIELD_TEXT("detail", "larder fsck lists them, fsck --repair puts them aside"));
    if (swept->unknown_images > 0)
        LOG(&node->log, LOG_WARNING, "images in the blob directory that the catalogue lacks",
            FIELD_INT("images", swept->unknown_images),
            FIELD_TEXT("detail", "No orphan is swept until larder fsck --repair took them in. Is "
                                 "this the catalogue of this directory?"));
}

static void sweep(struct sweep_thread *sweeper)
{
    const struct node *node = sweeper->node;
    const struct sweep_config config = {
        .catalogue = node->catalogue,
        .blobdir = node->blobdir,
        .every_seconds = (int64_t)node->options->sweep_seconds,
        .grace_seconds = (int64_t)node->options->grace_seconds,
        .stop = &sweeper->stopping,
    };
    struct swept swept;
    struct error error;
    if (!sweep_if_due(&config, &swept, &error)) {
        if (error.code != ERROR_CATALOGUE_UNAVAILABLE)
            LOG(&node->log, LOG_WARNING, "sweep failed", FIELD_TEXT("detail", error.message));
        return;
    }
    if (swept.ran) {
        count_swept(&swept);
        log_swept(node, &swept);
    }
    if (swept.condemned > 0)
        reaper_thread_wake(node->reaper);
}

static bool wait_to_ask(struct sweep_thread *sweeper)
{
    uint64_t every_ms = sweeper->node->options->sweep_seconds * 1000;
    struct timespec at =
        clock_after_ms(every_ms < ASK_EVERY_MS ? (unsigned)every_ms : ASK_EVERY_MS);
    pthread_mutex_lock(&sweeper->mutex);
    int late = 0;
    while (!atomic_load(&sweeper->stopping) && late == 0)
        late = pthread_cond_timedwait(&sweeper->changed, &sweeper->mutex, &at);
    pthread_mutex_unlock(&sweeper->mutex);
    return !atomic_load(&sweeper->stopping);
}

static void *run(void *argument)
{
    do {
        sweep(argument);
    } while (wait_to_ask(argument));
    return NULL;
}

struct sweep_thread *sweep_thread_start(const struct node *node, struct error *error)
{
    struct sweep_thread *sweeper = calloc(1, sizeof(*sweeper));
    if (!sweeper)
        abort();
    sweeper->node = node;
    pthread_mutex_init(&sweeper->mutex, NULL);
    clock_cond_init(&sweeper->changed);
    int failed = pthread_create(&sweeper->thread, NULL, run, sweeper);
    if (!failed)
        return sweeper;
    error_set_errno(error, ERROR_INTERNAL, failed, "The sweeper's thread does not start");
    free(sweeper);
    return NULL;
}

void sweep_thread_stop(struct sweep_thread *sweeper)
{
    if (!sweeper)
        return;
    pthread_mutex_lock(&sweeper->mutex);
    atomic_store(&sweeper->stopping, true);
    pthread_cond_signal(&sweeper->changed);
    pthread_mutex_unlock(&sweeper->mutex);
    pthread_join(sweeper->thread, NULL);
    pthread_cond_destroy(&sweeper->changed);
    pthread_mutex_destroy(&sweeper->mutex);
    free(sweeper);
}
