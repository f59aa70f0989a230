#include "store/pull/pull_task.h"

/* A pull that ends its nodes again and again must not go round the fleet for ever. */
enum { MAX_ATTEMPTS = 5 };

static bool run_steps(struct pull_task *task, struct error *error)
{
    int64_t begun_ms = pull_step_begin();
    if (!pull_resolve(task, error))
        return false;
    pull_step_done(task, "pull resolved", begun_ms, "%s, %zu layers", task->pull.manifest_digest,
                   task->pull.layer_count);
    if (!pull_fetch_layers(task, error))
        return false;
    begun_ms = pull_step_begin();
    if (!pull_compose(task, error))
        return false;
    pull_step_done(task, "pull composed", begun_ms, "%s", task->pull.manifest_digest);
    return true;
}

bool pull_run(struct pull_task *task, struct error *error)
{
    const struct pull *pull = &task->pull;
    if (pull->attempts > MAX_ATTEMPTS)
        return error_set(error, ERROR_PULL_FAILED,
                         "%d nodes took up the pull of %s and none finished it", MAX_ATTEMPTS,
                         pull->reference);
    if (!reference_parse(pull->reference, &task->reference, error) ||
        !platform_parse(pull->platform, &task->wanted, error))
        return false;
    /* It was not whole when it was asked for (pull_complete.c). */
    if (pull->policy == PULL_NEVER)
        return error_set(error, ERROR_IMAGE_NOT_FOUND,
                         "%s for %s is not in the cache, and the policy \"never\" forbids to pull "
                         "it",
                         pull->reference, pull->platform);
    return run_steps(task, error);
}
