#include "server/scrub_thread.h"

#include "server/clock.h"
#include "server/node.h"
#include "store/scrub.h"

#include <stdlib.h>

enum {
    /* When nothing is due, or the catalogue is away. */
    IDLE_MS = 30 * 1000,
    /* A file costs as much as that many bytes: opening small ones is no less work. */
    FILE_COST_BYTES = 64 * 1024,
};

struct scrub_thread {
    const struct node *node;
    pthread_t thread;
    atomic_bool stopping; /* read without the mutex by the scrub; set with it */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* stopping */
};

static void tell(void *context, const struct blob_id *file, const struct damage *damage,
                 const struct damaged_image *image, const char *pull_id)
{
    const struct scrub_thread *scrubber = context;
    char path[BLOB_PATH_SIZE];
    blob_path(file->kind, &file->key, path);
    LOG(&scrubber->node->log, LOG_WARNING, "damaged file", FIELD_TEXT("path", path),
        FIELD_TEXT("problem", blob_condition_name(damage->condition)),
        FIELD_TEXT("detail", damage->detail), FIELD_TEXT("quarantined", damage->quarantined),
        FIELD_TEXT("reference", image->reference), FIELD_TEXT("pull_id", pull_id));
}

static void rest(struct scrub_thread *scrubber, unsigned ms)
{
    struct timespec at = clock_after_ms(ms);
    pthread_mutex_lock(&scrubber->mutex);
    int late = 0;
    while (!atomic_load(&scrubber->stopping) && late == 0)
        late = pthread_cond_timedwait(&scrubber->changed, &scrubber->mutex, &at);
    pthread_mutex_unlock(&scrubber->mutex);
}

/* How long to wait before the next one. */
static unsigned scrub_one(const struct scrub_config *config, bool layer)
{
    const struct scrub_thread *scrubber = config->context;
    struct scrubbed scrubbed;
    struct error error;
    if (!scrub_next(config, layer, &scrubbed, &error)) {
        if (error.code != ERROR_CATALOGUE_UNAVAILABLE)
            LOG(&scrubber->node->log, LOG_WARNING, "scrub failed",
                FIELD_TEXT("detail", error.message));
        return IDLE_MS;
    }
    int64_t ms = scrubbed.files * FILE_COST_BYTES * 1000 / config->bytes_per_second;
    return scrubbed.was_due ? (unsigned)(ms < IDLE_MS ? ms : IDLE_MS) + 1 : 0;
}

static void *run(void *argument)
{
    struct scrub_thread *scrubber = argument;
    const struct scrub_config config = {
        .catalogue = scrubber->node->catalogue,
        .blobdir = scrubber->node->blobdir,
        .bytes_per_second = (int64_t)scrubber->node->options->scrub_bytes_per_second,
        .stop = &scrubber->stopping,
        .tell = tell,
        .context = scrubber,
    };
    while (!atomic_load(&scrubber->stopping)) {
        unsigned layer_ms = scrub_one(&config, true);
        rest(scrubber, layer_ms);
        unsigned manifest_ms = scrub_one(&config, false);
        rest(scrubber, layer_ms + manifest_ms > 0 ? manifest_ms : IDLE_MS);
    }
    return NULL;
}

bool scrub_thread_start(const struct node *node, struct scrub_thread **scrubber,
                        struct error *error)
{
    *scrubber = NULL;
    if (node->options->scrub_bytes_per_second == 0)
        return true;
    struct scrub_thread *started = calloc(1, sizeof(*started));
    if (!started)
        abort();
    started->node = node;
    pthread_mutex_init(&started->mutex, NULL);
    clock_cond_init(&started->changed);
    int failed = pthread_create(&started->thread, NULL, run, started);
    if (failed) {
        free(started);
        return error_set_errno(error, ERROR_INTERNAL, failed,
                               "The scrubber's thread does not start");
    }
    *scrubber = started;
    return true;
}

void scrub_thread_stop(struct scrub_thread *scrubber)
{
    if (!scrubber)
        return;
    pthread_mutex_lock(&scrubber->mutex);
    atomic_store(&scrubber->stopping, true);
    pthread_cond_signal(&scrubber->changed);
    pthread_mutex_unlock(&scrubber->mutex);
    pthread_join(scrubber->thread, NULL);
    pthread_cond_destroy(&scrubber->changed);
    pthread_mutex_destroy(&scrubber->mutex);
    free(scrubber);
}
