#include "store/damage.h"
#include "store/metrics.h"
#include "store/pull/pull_task.h"

/* *found: the file is not as it was recorded, or somebody is at it right now, who may have found
 * the same. */
static bool put_aside(struct pull_task *task, const struct task_layer *layer, bool *found,
                      struct error *error)
{
    const struct puller_config *config = task->config;
    const struct blob_id file = {BLOB_LAYER, layer->diff_id};
    struct blob_reading reading = {.bytes = true, .stop = &task->stop, .cannot_wait = true};
    struct damage damage;
    cleanup_arena struct arena arena = {0};
    if (!damage_confirm(config->catalogue, config->blobdir, &file, &reading, true, &arena, &damage,
                        error))
        return false;
    *found |= damage.busy || damage.condition != BLOB_IS_WHOLE;
    if (damage.quarantined) {
        metric_add(METRIC_DAMAGED_FILES, 1, BLOB_LAYER);
        config->log(config->log_context, "damaged layer", &task->pull, NULL, damage.quarantined);
    }
    return true;
}

bool pull_put_damaged_aside(struct pull_task *task, bool *found, struct error *error)
{
    for (size_t i = 0; i < task->layer_count; i++)
        if (!put_aside(task, &task->layers[i], found, error))
            return false;
    return true;
}
