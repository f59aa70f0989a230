#include "server/reaper_thread.h"

#include "server/clock.h"
#include "store/cleanup.h"
#include "store/reaper.h"

#include <pthread.h>

enum {
    ROUND_EVERY_MS = 30 * 1000,
    WAKE_DELAY_MS = 1000, /* for the lock that was busy to come free */
    FILES_A_ROUND = 1000, /* at 100 us a file, 100 ms */
};

struct reaper_thread {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    const struct log *log;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool stopping;
    bool woken;
};

static void run_round(const struct reaper_thread *reaper)
{
    struct reaped reaped = {0};
    struct error error;
    if (!reaper_round(reaper->catalogue, reaper->blobdir, FILES_A_ROUND, &reaped, &error)) {
        if (error.code != ERROR_CATALOGUE_UNAVAILABLE)
            LOG(reaper->log, LOG_WARNING, "reaper round failed",
                FIELD_TEXT("detail", error.message));
        return;
    }
    int64_t files = reaped.layer_files + reaped.fsmeta_files + reaped.vmdk_files;
    if (files > 0)
        LOG(reaper->log, LOG_INFO, "reaped", FIELD_INT("files", files),
            FIELD_INT("bytes", reaped.bytes));
}

/* Sleeps until the next round; false when it is time to stop. */
static bool wait_for_round(struct reaper_thread *reaper)
{
    struct timespec at = clock_after_ms(ROUND_EVERY_MS);
    pthread_mutex_lock(&reaper->lock);
    int late = 0;
    while (!reaper->stopping && !reaper->woken && late == 0)
        late = pthread_cond_timedwait(&reaper->changed, &reaper->lock, &at);
    if (reaper->woken) {
        at = clock_after_ms(WAKE_DELAY_MS);
        late = 0;
        while (!reaper->stopping && late == 0)
            late = pthread_cond_timedwait(&reaper->changed, &reaper->lock, &at);
    }
    reaper->woken = false;
    bool stopping = reaper->stopping;
    pthread_mutex_unlock(&reaper->lock);
    return !stopping;
}

static void *reap(void *argument)
{
    do {
        run_round(argument);
    } while (wait_for_round(argument));
    return NULL;
}

struct reaper_thread *reaper_thread_start(struct catalogue *catalogue, struct blobdir *blobdir,
                                          const struct log *log, struct error *error)
{
    struct reaper_thread *reaper = calloc(1, sizeof(*reaper));
    if (!reaper)
        abort();
    *reaper = (struct reaper_thread){.catalogue = catalogue, .blobdir = blobdir, .log = log};
    clock_cond_init(&reaper->changed);
    pthread_mutex_init(&reaper->lock, NULL);
    int failed = pthread_create(&reaper->thread, NULL, reap, reaper);
    if (!failed)
        return reaper;
    error_set_errno(error, ERROR_INTERNAL, failed, "The reaper's thread does not start");
    free(reaper);
    return NULL;
}

void reaper_thread_wake(struct reaper_thread *reaper)
{
    pthread_mutex_lock(&reaper->lock);
    reaper->woken = true;
    pthread_cond_signal(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
}

void reaper_thread_stop(struct reaper_thread *reaper)
{
    if (!reaper)
        return;
    pthread_mutex_lock(&reaper->lock);
    reaper->stopping = true;
    pthread_cond_signal(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
    pthread_join(reaper->thread, NULL);
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->lock);
    free(reaper);
}
