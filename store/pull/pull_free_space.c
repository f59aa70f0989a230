#include "store/pull/pull_task.h"
#include "store/reaper.h"

/* More than one pull leaves behind. */
enum { REAP_LIMIT = 1000 };

bool pull_free_space(const struct puller_config *config, struct error *error)
{
    /* No reference is empty: only what no reference reaches goes. */
    const struct prune_options only_unreached = {.reference_glob = ""};
    cleanup_arena struct arena arena = {0};
    struct removal removal;
    struct reaped reaped;
    return catalogue_prune(config->catalogue, &only_unreached, &arena, &removal, error) &&
           reaper_round(config->catalogue, config->blobdir, REAP_LIMIT, &reaped, error);
}
