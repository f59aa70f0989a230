#include "store/cancel.h"
#include "store/metrics.h"
#include "store/pull/pull_task.h"

/* A pull that ends its nodes again and again must not go round the fleet for ever; but nodes that
 * die for reasons of their own, one after the other, are no reason to give it up. */
enum { MAX_ATTEMPTS = 10 };

static void stage_done(enum metric_stage stage, int64_t begun_us)
{
    metric_observe(METRIC_PULL_STAGE_SECONDS, metric_now_us() - begun_us, stage);
}

static bool resolve(struct pull_task *task, struct error *error)
{
    int64_t begun_ms = pull_step_begin();
    int64_t begun_us = metric_now_us();
    if (!pull_resolve(task, error))
        return false;
    stage_done(STAGE_RESOLVE, begun_us);
    pull_step_done(task, "pull resolved", begun_ms, "%s, %zu layers", task->pull.manifest_digest,
                   task->pull.layer_count);
    return true;
}

static bool fetch(struct pull_task *task, struct error *error)
{
    int64_t begun_us = metric_now_us();
    if (!pull_fetch_layers(task, pull_compose_files, error)) {
        pull_forget_files(task);
        return false;
    }
    stage_done(STAGE_FETCH, begun_us);
    return true;
}

/* What is left of it: the files are composed during the fetch. */
static bool compose(struct pull_task *task, struct error *error)
{
    int64_t begun_ms = pull_step_begin();
    int64_t begun_us = metric_now_us();
    if (!pull_compose(task, error))
        return false;
    stage_done(STAGE_COMPOSE, begun_us);
    pull_step_done(task, "pull composed", begun_ms, "%s", task->pull.manifest_digest);
    return true;
}

static bool run_steps(struct pull_task *task, struct error *error)
{
    int64_t begun_us = metric_now_us();
    if (!resolve(task, error) || !fetch(task, error) || !compose(task, error))
        return false;
    stage_done(STAGE_ALL, begun_us);
    return true;
}

bool pull_run(struct pull_task *task, struct error *error)
{
    const struct pull *pull = &task->pull;
    if (!cancel_check(&task->stop, error))
        return false;
    if (pull->attempts > MAX_ATTEMPTS)
        return error_set(error, ERROR_PULL_FAILED,
                         "%d nodes took up the pull of %s and none finished it", MAX_ATTEMPTS,
                         pull->reference);
    if (!reference_parse(pull->reference, &task->reference, error) ||
        !platform_parse(pull->platform, &task->wanted, error))
        return false;
    if (pull->policy == PULL_LOAD)
        return error_set(error, ERROR_PULL_FAILED,
                         "the node that %s for %s was sent to ended before it was loaded; send it "
                         "again",
                         pull->reference, pull->platform);
    bool confirmed = false;
    if (pull->policy == PULL_ALWAYS && !pull->force && !pull_confirm(task, &confirmed, error))
        return false;
    return confirmed || run_steps(task, error);
}
