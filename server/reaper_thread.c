#include "server/reaper_thread.h"

#include "server/clock.h"
#include "store/cleanup.h"
#include "store/reaper.h"

#include <pthread.h>

enum {
    ROUND_EVERY_MS = 30 * 1000,
    WAKE_DELAY_MS = 1000, /* for the lock that was busy to come free */
    LOOK_EVERY_MS = 100,  /* at what is left of a prune, and whether to hurry */
    LOOKS_IN_VAIN_MAX = 10,
};

struct reaper_thread {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    const struct log *log;
    pthread_t thread;
    int64_t tidies_at_us;  /* the thread's own */
    atomic_bool stopping;  /* also read within a pass; set with the mutex */
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    bool woken;
    bool hurried;
    bool was_told; /* of a removal, since configs were last forgotten */
    uint64_t passes_begun;
    uint64_t passes_ended;
};

/* --- the thread --- */

static void log_failure(const struct reaper_thread *reaper, const char *event,
                        const struct error *error)
{
    if (error->code != ERROR_CATALOGUE_UNAVAILABLE) /* which readiness says */
        LOG(reaper->log, LOG_WARNING, event, FIELD_TEXT("detail", error->message));
}

static void forget_configs(struct reaper_thread *reaper)
{
    struct error error;
    if (catalogue_forget_configs(reaper->catalogue, &error))
        return;
    log_failure(reaper, "forgetting configs failed", &error);
    reaper_thread_tell(reaper);
}

/* Whether images went. */
static bool reap(struct reaper_thread *reaper)
{
    const struct reaper_pass pass = {
        .catalogue = reaper->catalogue,
        .blobdir = reaper->blobdir,
        .stop = &reaper->stopping,
    };
    struct reaped reaped = {0};
    struct error error;
    int64_t begun_us = clock_now_us();
    if (!reaper_run_pass(&pass, &reaped, &error))
        log_failure(reaper, "reaper's pass failed", &error);
    int64_t files = reaped.layer_files + reaped.fsmeta_files + reaped.vmdk_files;
    if (files + reaped.description_files > 0)
        LOG(reaper->log, LOG_INFO, "reaped", FIELD_INT("files", files),
            FIELD_INT("descriptions", reaped.description_files), FIELD_INT("bytes", reaped.bytes),
            FIELD_INT("duration_us", clock_now_us() - begun_us));
    return reaped.fsmeta_files > 0;
}

static void expire(struct reaper_thread *reaper)
{
    int64_t expired = 0;
    struct error error;
    if (!catalogue_expire_sandboxes(reaper->catalogue, &expired, &error))
        log_failure(reaper, "expiring sandboxes failed", &error);
    if (expired > 0)
        LOG(reaper->log, LOG_INFO, "sandboxes expired", FIELD_INT("sandboxes", expired));
}

static bool take_word(struct reaper_thread *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    bool was_told = reaper->was_told;
    reaper->was_told = false;
    pthread_mutex_unlock(&reaper->mutex);
    return was_told;
}

/* Each round, not each pass: it reads all sandboxes, or all configs, and nothing waits for it. */
static void tidy(struct reaper_thread *reaper)
{
    int64_t now_us = clock_now_us();
    if (now_us < reaper->tidies_at_us)
        return;
    reaper->tidies_at_us = now_us + (int64_t)ROUND_EVERY_MS * 1000;
    expire(reaper);
    if (take_word(reaper))
        forget_configs(reaper);
}

/* Until the deadline, or somebody hurries. */
static void wait_until(struct reaper_thread *reaper, struct timespec deadline, bool until_woken)
{
    int late = 0;
    while (!atomic_load(&reaper->stopping) && !reaper->hurried && !(until_woken && reaper->woken) &&
           late == 0)
        late = pthread_cond_timedwait(&reaper->changed, &reaper->mutex, &deadline);
}

/* Sleeps until the next pass, and begins it; false when it is time to stop. */
static bool begin_pass(struct reaper_thread *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    if (reaper->passes_begun > 0) {
        wait_until(reaper, clock_after_ms(ROUND_EVERY_MS), true);
        if (reaper->woken)
            wait_until(reaper, clock_after_ms(WAKE_DELAY_MS), false);
    }
    reaper->woken = reaper->hurried = false;
    reaper->passes_begun++;
    pthread_mutex_unlock(&reaper->mutex);
    return !atomic_load(&reaper->stopping);
}

static void end_pass(struct reaper_thread *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    reaper->passes_ended++;
    pthread_cond_broadcast(&reaper->changed);
    pthread_mutex_unlock(&reaper->mutex);
}

static void *run(void *argument)
{
    struct reaper_thread *reaper = argument;
    while (begin_pass(reaper)) {
        tidy(reaper);
        bool images_went = reap(reaper);
        end_pass(reaper);
        if (images_went) /* a prune is answered before */
            forget_configs(reaper);
    }
    return NULL;
}

struct reaper_thread *reaper_thread_start(struct catalogue *catalogue, struct blobdir *blobdir,
                                          const struct log *log, struct error *error)
{
    struct reaper_thread *reaper = calloc(1, sizeof(*reaper));
    if (!reaper)
        abort();
    reaper->catalogue = catalogue;
    reaper->blobdir = blobdir;
    reaper->log = log;
    clock_cond_init(&reaper->changed);
    pthread_mutex_init(&reaper->mutex, NULL);
    int failed = pthread_create(&reaper->thread, NULL, run, reaper);
    if (!failed)
        return reaper;
    error_set_errno(error, ERROR_INTERNAL, failed, "The reaper's thread does not start");
    free(reaper);
    return NULL;
}

void reaper_thread_stop(struct reaper_thread *reaper)
{
    if (!reaper)
        return;
    pthread_mutex_lock(&reaper->mutex);
    atomic_store(&reaper->stopping, true);
    pthread_cond_broadcast(&reaper->changed);
    pthread_mutex_unlock(&reaper->mutex);
    pthread_join(reaper->thread, NULL);
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->mutex);
    free(reaper);
}

/* --- for the others --- */

void reaper_thread_wake(struct reaper_thread *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    reaper->woken = true;
    pthread_cond_broadcast(&reaper->changed);
    pthread_mutex_unlock(&reaper->mutex);
}

void reaper_thread_tell(struct reaper_thread *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    reaper->was_told = true;
    pthread_mutex_unlock(&reaper->mutex);
}

/* Waits for the end of a pass that begins from here on; false when it is time to hurry. */
static bool wait_for_pass(struct reaper_thread *reaper, bool (*hurry)(void *context), void *context)
{
    pthread_mutex_lock(&reaper->mutex);
    uint64_t wanted = reaper->passes_begun + 1;
    bool hurries = false;
    while (reaper->passes_ended < wanted && !hurries) {
        if (reaper->passes_begun < wanted) {
            reaper->hurried = true;
            pthread_cond_broadcast(&reaper->changed);
        }
        struct timespec deadline = clock_after_ms(LOOK_EVERY_MS);
        (void)pthread_cond_timedwait(&reaper->changed, &reaper->mutex, &deadline);
        hurries = hurry(context);
    }
    pthread_mutex_unlock(&reaper->mutex);
    return !hurries;
}

static void rest_a_moment(struct reaper_thread *reaper)
{
    struct timespec deadline = clock_after_ms(LOOK_EVERY_MS);
    int late = 0;
    pthread_mutex_lock(&reaper->mutex);
    while (late == 0)
        late = pthread_cond_timedwait(&reaper->changed, &reaper->mutex, &deadline);
    pthread_mutex_unlock(&reaper->mutex);
}

bool reaper_thread_finish(struct reaper_thread *reaper, int64_t removal_id,
                          bool (*hurry)(void *context), void *context, struct reaped *reaped,
                          struct error *error)
{
    int64_t before = -1;
    for (int in_vain = 0; in_vain < LOOKS_IN_VAIN_MAX;) {
        int64_t waiting = 0;
        bool goes_on = wait_for_pass(reaper, hurry, context);
        if (!catalogue_removal_progress(reaper->catalogue, removal_id, reaped, &waiting, error))
            return false;
        if (waiting == 0 || !goes_on)
            break;
        in_vain = waiting == before ? in_vain + 1 : 0;
        before = waiting;
        rest_a_moment(reaper);
    }
    return true;
}
