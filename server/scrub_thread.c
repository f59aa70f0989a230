#include "server/scrub_thread.h"

#include "server/node.h"
#include "store/scrub.h"

enum {
    /* When nothing is due, or the catalogue is away. */
    IDLE_MS = 30 * 1000,
    /* A file costs as much as that many bytes: opening small ones is no less work. */
    FILE_COST_BYTES = 64 * 1024,
};

static void tell(void *context, const struct blob_id *file, const struct damage *damage,
                 const struct damaged_image *image, const char *pull_id)
{
    const struct node *node = context;
    char path[BLOB_PATH_SIZE];
    blob_path(file->kind, &file->key, path);
    LOG(&node->log, LOG_WARNING, "damaged file", FIELD_TEXT("path", path),
        FIELD_TEXT("problem", blob_condition_name(damage->condition)),
        FIELD_TEXT("detail", damage->detail), FIELD_TEXT("quarantined", damage->quarantined),
        FIELD_TEXT("reference", image->reference), FIELD_TEXT("pull_id", pull_id));
}

/* How long to wait before the next one. */
static unsigned scrub_one(const struct scrub_config *config, bool layer)
{
    const struct node *node = config->context;
    struct scrubbed scrubbed;
    struct error error;
    if (!scrub_next(config, layer, &scrubbed, &error)) {
        if (error.code != ERROR_CATALOGUE_UNAVAILABLE)
            LOG(&node->log, LOG_WARNING, "scrub failed", FIELD_TEXT("detail", error.message));
        return IDLE_MS;
    }
    int64_t ms = scrubbed.files * FILE_COST_BYTES * 1000 / config->bytes_per_second;
    return scrubbed.was_due ? (unsigned)(ms < IDLE_MS ? ms : IDLE_MS) + 1 : 0;
}

static unsigned work(void *context, const atomic_bool *stopping)
{
    struct node *node = context;
    const struct scrub_config config = {
        .catalogue = node->catalogue,
        .blobdir = node->blobdir,
        .bytes_per_second = (int64_t)node->options->scrub_bytes_per_second,
        .stop = stopping,
        .tell = tell,
        .context = node,
    };
    unsigned layer_ms = scrub_one(&config, true);
    unsigned manifest_ms = atomic_load(stopping) ? 0 : scrub_one(&config, false);
    return layer_ms + manifest_ms > 0 ? layer_ms + manifest_ms : IDLE_MS;
}

bool scrub_thread_start(struct node *node, struct periodic **scrubber, struct error *error)
{
    *scrubber = NULL;
    if (node->options->scrub_bytes_per_second > 0)
        *scrubber = periodic_start("The scrubber", work, node, error);
    return *scrubber || node->options->scrub_bytes_per_second == 0;
}
