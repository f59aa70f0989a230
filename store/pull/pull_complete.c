/* A pull of what is here already, whole: recorded as done when it is asked for. */
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

/* One for a lesser platform that would run here does not count: the registry may have
 * the one that was asked for. */
static bool is_for(const struct image_handle *image, const struct platform *wanted)
{
    struct platform found;
    struct error ignored;
    return platform_from_fields(image->os, image->architecture, image->variant, &found, &ignored) &&
           platform_equal(&found, wanted);
}

bool pull_record_if_complete(const struct puller_config *config, const struct pull_request *request,
                             struct arena *arena, struct pull *pull, bool *complete,
                             struct error *error)
{
    const struct platform_choice choice = {.wanted = request->platform,
                                           .preferred = config->default_platform};
    struct image_detail detail;
    *complete = false;
    if (request->policy == PULL_ALWAYS || request->force)
        return true;
    if (!catalogue_inspect_image(config->catalogue, request->reference, &choice, arena, &detail,
                                 error))
        return error->code == ERROR_IMAGE_NOT_FOUND || error->code == ERROR_PLATFORM_NOT_FOUND;
    if (!is_for(&detail.handle, request->platform) || !files_are_whole(config->blobdir, &detail))
        return true;
    *complete = catalogue_record_cached_pull(config->catalogue, config->node_id, request,
                                             &detail.handle, arena, pull, error);
    return *complete || error->code == ERROR_IMAGE_NOT_FOUND; /* removed this moment: pull it */
}
