#include "store/pull/pull_task.h"

#include <string.h>

/* Follows the reference to the manifest of the wanted platform; *entry is the index's,
 * or NULL. */
static bool fetch_manifest(struct pull_task *task, const struct index_entry **entry,
                           struct error *error)
{
    struct registry_client *registry = task->config->registry;
    struct registry_document *document = &task->manifest_bytes;
    *entry = NULL;
    if (!registry_fetch_manifest(registry, &task->reference, &task->arena, &task->stop, document,
                                 error) ||
        !manifest_parse(&task->arena, document->bytes, document->size_bytes, document->media_type,
                        &task->manifest, error))
        return false;
    if (task->manifest.kind == MEDIA_MANIFEST)
        return true;

    struct manifest_document index = task->manifest;
    task->is_from_index = true;
    digest_format(&document->digest, task->index_digest);
    if (!manifest_choose(&index, &task->wanted, entry, error) ||
        !registry_fetch_manifest_by_digest(registry, &task->reference, &(*entry)->manifest.digest,
                                           &task->arena, &task->stop, document, error) ||
        !manifest_parse(&task->arena, document->bytes, document->size_bytes,
                        (*entry)->manifest.media_type, &task->manifest, error))
        return false;
    return task->manifest.kind == MEDIA_MANIFEST ||
           error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                     "the index of %s leads to another index; only manifests may stand there",
                     task->pull.reference);
}

/* The image's platform is its config's; what the index says must not contradict it. */
static bool check_platform(struct pull_task *task, const struct index_entry *entry,
                           struct error *error)
{
    const struct platform *indexed = entry && entry->platform_is_known ? &entry->platform : NULL;
    if (!image_config_check(&task->image_config, task->manifest.layer_count, indexed, error))
        return false;
    task->platform = image_config_platform(&task->image_config, indexed);
    if (platform_rank(&task->wanted, &task->platform) < 0) {
        char offered[PLATFORM_TEXT_SIZE];
        platform_format(&task->platform, offered);
        return error_set(error, ERROR_PLATFORM_NOT_FOUND,
                         "%s is for %s only, and does not run on %s", task->pull.reference, offered,
                         task->pull.platform);
    }
    return true;
}

static bool fetch_config(struct pull_task *task, struct error *error)
{
    struct registry_document *document = &task->config_bytes;
    return registry_fetch_config(task->config->registry, &task->reference, &task->manifest.config,
                                 &task->arena, &task->stop, document, error) &&
           image_config_parse(&task->arena, document->bytes, document->size_bytes,
                              &task->image_config, error);
}

static size_t find_layer(const struct pull_task *task, const struct digest *diff_id)
{
    size_t index = 0;
    while (index < task->layer_count && !digest_equal(&task->layers[index].diff_id, diff_id))
        index++;
    return index;
}

/* The same layer may stand in a manifest twice: it is fetched once. */
static void list_layers(struct pull_task *task)
{
    size_t count = task->manifest.layer_count;
    task->layers = arena_alloc_array(&task->arena, count, sizeof(*task->layers));
    task->layer_of_position =
        arena_alloc_array(&task->arena, count, sizeof(*task->layer_of_position));
    for (size_t position = 0; position < count; position++) {
        const struct digest *diff_id = &task->image_config.diff_ids[position];
        size_t index = find_layer(task, diff_id);
        if (index == task->layer_count) {
            task->layers[index].diff_id = *diff_id;
            task->layers[index].source = &task->manifest.layers[position];
            task->layers[index].draft_fd = -1;
            task->layer_count++;
        }
        task->layer_of_position[position] = index;
    }
}

static const char *digest_text(struct pull_task *task, const struct digest *digest)
{
    char *text = arena_alloc(&task->arena, DIGEST_TEXT_SIZE);
    digest_format(digest, text);
    return text;
}

/* What the catalogue keeps of it. */
static void describe_layers(struct pull_task *task)
{
    struct pull *pull = &task->pull;
    pull->layer_count = task->manifest.layer_count;
    pull->layers = arena_alloc_array(&task->arena, pull->layer_count, sizeof(*pull->layers));
    for (size_t position = 0; position < pull->layer_count; position++) {
        const struct descriptor *blob = &task->manifest.layers[position].blob;
        pull->layers[position] = (struct pull_layer){
            .position = (int64_t)position,
            .diff_id = digest_text(task, &task->image_config.diff_ids[position]),
            .blob_digest = digest_text(task, &blob->digest),
            .media_type = blob->media_type,
            .total_bytes = (int64_t)blob->size_bytes,
            .state = "waiting",
        };
    }
}

/* Gzip makes what cannot be compressed a little larger, but not more than this. */
static bool cannot_fit(uint64_t compressed_bytes, uint64_t limit)
{
    return compressed_bytes > limit && compressed_bytes - limit > limit / 256 + (64 << 10);
}

/* A layer may stand in an image more than once. */
static bool is_blob_counted(const struct manifest_document *manifest, size_t layer)
{
    for (size_t i = 0; i < layer; i++)
        if (digest_equal(&manifest->layers[i].blob.digest, &manifest->layers[layer].blob.digest))
            return true;
    return false;
}

/* What is too large already as the manifest says it need not be fetched. */
static bool check_sizes(const struct pull_task *task, struct error *error)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < task->manifest.layer_count; i++) {
        uint64_t size = task->manifest.layers[i].blob.size_bytes;
        if (cannot_fit(size, task->config->max_layer_bytes))
            return error_set(error, ERROR_LAYER_TOO_LARGE,
                             "layer %zu of %s has %llu bytes, and the limit is %llu "
                             "(--max-layer-bytes)",
                             i, task->pull.reference, (unsigned long long)size,
                             (unsigned long long)task->config->max_layer_bytes);
        if (!is_blob_counted(&task->manifest, i) && __builtin_add_overflow(sum, size, &sum))
            sum = UINT64_MAX;
    }
    return !cannot_fit(sum, task->config->max_image_bytes) ||
           error_set(error, ERROR_LAYER_TOO_LARGE,
                     "the layers of %s have %llu bytes, and the limit is %llu "
                     "(--max-image-bytes)",
                     task->pull.reference, (unsigned long long)sum,
                     (unsigned long long)task->config->max_image_bytes);
}

static bool ask_registry(struct pull_task *task, struct error *error)
{
    const struct index_entry *entry = NULL;
    if (!fetch_manifest(task, &entry, error))
        return false;
    if (task->manifest.layer_count > task->config->max_image_layers)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "%s has %zu layers; this node takes at most %u (--max-image-layers)",
                         task->pull.reference, task->manifest.layer_count,
                         task->config->max_image_layers);
    return check_sizes(task, error) && fetch_config(task, error) &&
           check_platform(task, entry, error);
}

bool pull_resolve(struct pull_task *task, struct error *error)
{
    bool recalled = false;
    bool may_recall = task->pull.policy == PULL_IF_MISSING && !task->pull.force;
    if (may_recall && !pull_recall(task, &recalled, error))
        return false;
    if (!recalled && !ask_registry(task, error))
        return false;
    return pull_record_resolution(task, error);
}

bool pull_record_resolution(struct pull_task *task, struct error *error)
{
    task->manifest_digest = task->manifest_bytes.digest;
    task->pull.manifest_digest = digest_text(task, &task->manifest_digest);
    list_layers(task);
    describe_layers(task);
    return catalogue_pull_resolved(task->config->catalogue, task->config->node_id, &task->pull,
                                   error);
}
