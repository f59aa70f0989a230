#include "server/sweep_thread.h"

#include "server/node.h"
#include "server/reaper_thread.h"
#include "store/metrics.h"
#include "store/sweep.h"

enum { ASK_EVERY_MS = 60 * 1000 };

static void count_swept(const struct swept *swept)
{
    metric_add(METRIC_SWEPT_FILES, swept->files);
    metric_add(METRIC_SWEPT_ORPHANS, swept->condemned);
    metric_set(METRIC_SWEEP_TIME, metric_wall_us());
    metric_set(METRIC_SWEEP_FOREIGN_FILES, swept->foreign);
    metric_set(METRIC_SWEEP_UNKNOWN_IMAGES, swept->unknown_images);
}

static void log_swept(const struct node *node, const struct swept *swept)
{
    LOG(&node->log, LOG_INFO, "swept", FIELD_INT("files", swept->files),
        FIELD_INT("condemned", swept->condemned), FIELD_INT("busy", swept->busy),
        FIELD_INT("drafts", swept->drafts));
    if (swept->foreign > 0)
        LOG(&node->log, LOG_WARNING, "files of other names in the blob directory",
            FIELD_INT("files", swept->foreign),
            FIELD_TEXT("detail", "larder fsck lists them, fsck --repair puts them aside"));
    if (swept->unknown_images > 0)
        LOG(&node->log, LOG_WARNING, "images in the blob directory that the catalogue lacks",
            FIELD_INT("images", swept->unknown_images),
            FIELD_TEXT("detail", "No orphan is swept until larder fsck --repair took them in. Is "
                                 "this the catalogue of this directory?"));
}

static void sweep(const struct node *node, const atomic_bool *stopping)
{
    const struct sweep_config config = {
        .catalogue = node->catalogue,
        .blobdir = node->blobdir,
        .every_seconds = (int64_t)node->options->sweep_seconds,
        .grace_seconds = (int64_t)node->options->grace_seconds,
        .stop = stopping,
    };
    struct swept swept;
    struct error error;
    if (!sweep_if_due(&config, &swept, &error)) {
        if (error.code != ERROR_CATALOGUE_UNAVAILABLE)
            LOG(&node->log, LOG_WARNING, "sweep failed", FIELD_TEXT("detail", error.message));
        return;
    }
    if (swept.ran) {
        count_swept(&swept);
        log_swept(node, &swept);
    }
    if (swept.condemned > 0)
        reaper_thread_wake(node->reaper);
}

static unsigned work(void *context, const atomic_bool *stopping)
{
    const struct node *node = context;
    uint64_t every_ms = node->options->sweep_seconds * 1000;
    sweep(node, stopping);
    return every_ms < ASK_EVERY_MS ? (unsigned)every_ms : ASK_EVERY_MS;
}

struct periodic *sweep_thread_start(struct node *node, struct error *error)
{
    return periodic_start("The sweeper", work, node, error);
}
