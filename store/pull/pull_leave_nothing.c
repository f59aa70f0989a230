#include "store/pull/pull_task.h"
#include "store/reaper.h"

bool pull_leaves_nothing(const struct pull_task *task, enum error_code why)
{
    static const enum error_code reasons[] = {
        ERROR_PULL_CANCELLED,    ERROR_DIGEST_MISMATCH,      ERROR_LAYER_TOO_LARGE,
        ERROR_UNSUPPORTED_LAYER, ERROR_UNSUPPORTED_MANIFEST, ERROR_STORAGE_FULL,
    };
    /* Nobody tries a load again but its sender. */
    bool leaves_nothing = task->pull.policy == PULL_LOAD;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        leaves_nothing |= reasons[i] == why;
    return leaves_nothing && task->remembered_count == 0;
}

bool pull_leave_nothing(const struct puller_config *config, const char *pull_id,
                        struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct condemned condemned;
    struct reaped reaped;
    return catalogue_drop_pull_layers(config->catalogue, pull_id, config->node_id, &arena,
                                      &condemned, error) &&
           reaper_reap(config->catalogue, config->blobdir, condemned.files, condemned.count,
                       &reaped, error);
}
