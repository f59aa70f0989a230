/* manifests/<hex>.json: the names of its members, and what may be null, are those of
 * microsandbox's cache, which reads it. */
#include "store/pull/pull_task.h"

#include <jansson.h>
#include <stdlib.h>

/* The keys of an object of the config ("ExposedPorts", "Volumes") as an array. */
static json_t *keys_of(const json_t *object)
{
    json_t *keys = json_array();
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        json_array_append_new(keys, json_string(key));
    return keys;
}

static json_t *copy_or(const json_t *object, const char *key, json_t *otherwise)
{
    json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return otherwise;
    json_decref(otherwise);
    return json_deep_copy(value);
}

static json_t *describe_config(const struct registry_document *document)
{
    json_t *root = json_loadb(document->bytes, document->size_bytes, 0, NULL);
    const json_t *config = json_object_get(root, "config");
    json_t *described = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "env",
        copy_or(config, "Env", json_array()), "cmd", copy_or(config, "Cmd", json_null()),
        "entrypoint", copy_or(config, "Entrypoint", json_null()), "working_dir",
        copy_or(config, "WorkingDir", json_null()), "user", copy_or(config, "User", json_null()),
        "exposed_ports", keys_of(json_object_get(config, "ExposedPorts")), "volumes",
        keys_of(json_object_get(config, "Volumes")), "labels",
        copy_or(config, "Labels", json_object()), "stop_signal",
        copy_or(config, "StopSignal", json_null()));
    json_decref(root);
    return described;
}

static json_t *describe_layers(const struct pull *pull)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < pull->layer_count; i++) {
        const struct pull_layer *layer = &pull->layers[i];
        json_array_append_new(layers,
                              json_pack("{s:s, s:s, s:I, s:s}", "digest", layer->blob_digest,
                                        "media_type", layer->media_type, "size_bytes",
                                        (json_int_t)layer->total_bytes, "diff_id", layer->diff_id));
    }
    return layers;
}

/* What the catalogue has beyond microsandbox's members, which ignores this one: with it the
 * catalogue can be rebuilt (pull_recall.c). */
static json_t *describe_rows(const struct pull_task *task)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < task->layer_count; i++) {
        const struct layer_record *record = &task->layers[i].record;
        char diff_id[DIGEST_TEXT_SIZE];
        char erofs_digest[DIGEST_TEXT_SIZE];
        digest_format(&record->diff_id, diff_id);
        digest_format(&record->erofs_digest, erofs_digest);
        json_array_append_new(
            layers, json_pack("{s:s, s:I, s:s, s:I}", "diff_id", diff_id, "erofs_size_bytes",
                              (json_int_t)record->erofs_size_bytes, "erofs_digest", erofs_digest,
                              "tar_size_bytes", (json_int_t)record->tar_size_bytes));
    }
    char platform[PLATFORM_TEXT_SIZE];
    platform_format(&task->platform, platform);
    return json_pack("{s:s, s:s, s:s, s:s?, s:o}", "reference", task->pull.reference, "platform",
                     platform, "manifest_media_type", task->manifest_bytes.media_type,
                     "index_digest", task->is_from_index ? task->index_digest : NULL, "layers",
                     layers);
}

char *pull_describe_image(const struct pull_task *task)
{
    char config_digest[DIGEST_TEXT_SIZE];
    digest_format(&task->config_bytes.digest, config_digest);
    json_t *description = json_pack(
        "{s:s, s:s, s:s%, s:s%, s:o, s:o, s:o}", "manifest_digest", task->pull.manifest_digest,
        "config_digest", config_digest, "raw_manifest_json", task->manifest_bytes.bytes,
        task->manifest_bytes.size_bytes, "raw_config_json", task->config_bytes.bytes,
        task->config_bytes.size_bytes, "config", describe_config(&task->config_bytes), "layers",
        describe_layers(&task->pull), "larder", describe_rows(task));
    char *text = description ? json_dumps(description, JSON_COMPACT) : NULL;
    json_decref(description);
    if (!text)
        abort(); /* both documents were parsed as JSON, so they are UTF-8 */
    return text;
}
