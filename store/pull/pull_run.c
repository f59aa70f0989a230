#include "store/pull/pull_task.h"

/* A pull that ends its nodes again and again must not go round the fleet for ever. */
enum { MAX_ATTEMPTS = 5 };

/* *done: the image was here, whole, and the pull is finished. */
static bool finish_if_complete(struct pull_task *task, bool *done, struct error *error)
{
    struct image_handle image;
    if (!pull_find_complete(task, done, &image, error) || !*done)
        return !*done;
    if (catalogue_pull_cached(task->config->catalogue, task->config->node_id, task->pull.id, &image,
                              error))
        return true;
    *done = false;
    return error->code == ERROR_IMAGE_NOT_FOUND; /* removed this moment: pull it */
}

bool pull_run(struct pull_task *task, struct error *error)
{
    const struct pull *pull = &task->pull;
    bool done = false;
    if (pull->attempts > MAX_ATTEMPTS)
        return error_set(error, ERROR_PULL_FAILED,
                         "%d nodes took up the pull of %s and none finished it", MAX_ATTEMPTS,
                         pull->reference);
    if (!reference_parse(pull->reference, &task->reference, error) ||
        !platform_parse(pull->platform, &task->wanted, error))
        return false;
    if (pull->policy != PULL_ALWAYS && !pull->force && !finish_if_complete(task, &done, error))
        return false;
    if (done)
        return true;
    if (pull->policy == PULL_NEVER)
        return error_set(error, ERROR_IMAGE_NOT_FOUND,
                         "%s for %s is not in the cache, and the policy \"never\" forbids to pull "
                         "it",
                         pull->reference, pull->platform);
    return pull_resolve(task, error) && pull_fetch_layers(task, error) && pull_compose(task, error);
}
