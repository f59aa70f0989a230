/* A pull of what is here already, whole: done when it is asked for, or, when the policy is
 * `always`, as soon as the registry confirms it. */
#include "store/pull/pull_task.h"

static bool files_are_whole(struct blobdir *blobdir, const struct image_detail *detail)
{
    struct digest key;
    if (!digest_parse(detail->handle.manifest_digest, &key) ||
        !blob_is_whole(blobdir, BLOB_FSMETA, &key, detail->fsmeta_size_bytes) ||
        !blob_is_whole(blobdir, BLOB_VMDK, &key, detail->vmdk_size_bytes))
        return false;
    for (size_t i = 0; i < detail->layer_count; i++)
        if (!digest_parse(detail->layers[i].diff_id, &key) ||
            !blob_is_whole(blobdir, BLOB_LAYER, &key, detail->layers[i].erofs_size_bytes))
            return false;
    return true;
}

/* One for a lesser platform that would run there does not count, unless the registry is not to be
 * asked: it may have the one that was asked for. */
static bool is_for(const struct image_handle *image, const struct platform *wanted)
{
    struct platform found;
    struct error ignored;
    return platform_from_fields(image->os, image->architecture, image->variant, &found, &ignored) &&
           platform_equal(&found, wanted);
}

/* *complete: the image is here for that very platform, or a lesser one, with every file it
 * needs. */
static bool find_complete(const struct puller_config *config, const struct reference *reference,
                          const struct platform *platform, bool or_lesser, struct arena *arena,
                          struct image_detail *detail, bool *complete, struct error *error)
{
    const struct platform_choice choice = {.wanted = platform,
                                           .preferred = config->default_platform};
    *complete = false;
    if (!catalogue_inspect_image(config->catalogue, reference, &choice, arena, detail, error))
        return error->code == ERROR_IMAGE_NOT_FOUND || error->code == ERROR_PLATFORM_NOT_FOUND;
    *complete = (or_lesser || is_for(&detail->handle, platform)) &&
                files_are_whole(config->blobdir, detail);
    return true;
}

static bool record_missing(const struct puller_config *config, const struct pull_request *request,
                           struct arena *arena, struct pull *pull, struct error *error)
{
    char reference[REFERENCE_TEXT_SIZE];
    char platform[PLATFORM_TEXT_SIZE];
    struct error why;
    reference_format(request->reference, reference);
    platform_format(request->platform, platform);
    error_set(&why, ERROR_IMAGE_NOT_FOUND,
              "%s for %s is not whole in the cache, and the policy \"never\" forbids to pull it",
              reference, platform);
    return catalogue_record_missing_pull(config->catalogue, config->node_id, request, &why, arena,
                                         pull, error);
}

bool pull_answer_from_cache(const struct puller_config *config, const struct pull_request *request,
                            struct arena *arena, struct pull *pull, bool *answered,
                            struct error *error)
{
    struct image_detail detail;
    bool complete = false;
    *answered = false;
    if (request->policy == PULL_ALWAYS || (request->force && request->policy != PULL_NEVER))
        return true;
    if (!find_complete(config, request->reference, request->platform, request->policy == PULL_NEVER,
                       arena, &detail, &complete, error))
        return false;
    if (complete) {
        *answered = catalogue_record_cached_pull(config->catalogue, config->node_id, request,
                                                 &detail.handle, arena, pull, error);
        if (!*answered && error->code != ERROR_IMAGE_NOT_FOUND)
            return false; /* else it was removed this moment */
    }
    if (!*answered && request->policy == PULL_NEVER)
        *answered = record_missing(config, request, arena, pull, error);
    return *answered || request->policy != PULL_NEVER;
}

/* A registry that knows no HEAD is asked with GET, like one whose answer was odd; that gives
 * the reason, too, when there is one. */
static bool may_ask_again(const struct error *error)
{
    return error->registry_status != 0 && error->code != ERROR_TOO_MANY_REQUESTS;
}

bool pull_confirm(struct pull_task *task, bool *confirmed, struct error *error)
{
    const struct puller_config *config = task->config;
    struct image_detail detail;
    struct digest digest;
    char text[DIGEST_TEXT_SIZE];
    bool complete = false;
    *confirmed = false;
    if (!find_complete(config, &task->reference, &task->wanted, false, &task->arena, &detail,
                       &complete, error))
        return false;
    if (!complete)
        return true;
    if (!registry_resolve(config->registry, &task->reference, &task->stop, &digest, error))
        return may_ask_again(error);
    digest_format(&digest, text);
    return catalogue_confirm_pull(config->catalogue, config->node_id, &task->pull, &detail.handle,
                                  text, confirmed, &task->again, error);
}
