#include "store/pull/pull_task.h"
#include "store/reaper.h"

/* More than one pull leaves behind. */
enum { REAP_LIMIT = 1000 };

bool pull_leaves_nothing(enum error_code why)
{
    static const enum error_code reasons[] = {
        ERROR_PULL_CANCELLED,    ERROR_DIGEST_MISMATCH,      ERROR_LAYER_TOO_LARGE,
        ERROR_UNSUPPORTED_LAYER, ERROR_UNSUPPORTED_MANIFEST, ERROR_STORAGE_FULL,
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i] == why)
            return true;
    return false;
}

bool pull_leave_nothing(const struct puller_config *config, const char *pull_id,
                        struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct removal removal;
    struct reaped reaped;
    /* Then what was published in vain of the image itself, which is condemned already. */
    return catalogue_drop_pull_layers(config->catalogue, pull_id, config->node_id, &arena, &removal,
                                      error) &&
           reaper_reap(config->catalogue, config->blobdir, removal.condemned,
                       removal.condemned_count, &reaped, error) &&
           reaper_round(config->catalogue, config->blobdir, REAP_LIMIT, &reaped, error);
}
