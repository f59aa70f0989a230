/* manifests/<hex>.json: the names of its members, and what may be null, are those of
 * microsandbox's cache, which reads it. */
#include "store/description.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static json_t *describe_config(const struct described_image *image)
{
    json_t *root = json_loadb(image->config, image->config_size_bytes, 0, NULL);
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

static json_t *describe_layers(const struct described_image *image)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < image->layer_count; i++) {
        const struct described_layer *layer = &image->layers[i];
        json_array_append_new(layers,
                              json_pack("{s:s, s:s, s:I, s:s}", "digest", layer->blob_digest,
                                        "media_type", layer->media_type, "size_bytes",
                                        (json_int_t)layer->size_bytes, "diff_id", layer->diff_id));
    }
    return layers;
}

/* What the catalogue has beyond microsandbox's members, which ignores this one: with it the
 * catalogue can be rebuilt (pull/pull_recall.c). */
static json_t *describe_rows(const struct described_image *image)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < image->file_count; i++) {
        const struct description_layer *file = &image->files[i];
        char diff_id[DIGEST_TEXT_SIZE];
        char erofs_digest[DIGEST_TEXT_SIZE];
        digest_format(&file->diff_id, diff_id);
        digest_format(&file->erofs_digest, erofs_digest);
        json_array_append_new(
            layers, json_pack("{s:s, s:I, s:s, s:I}", "diff_id", diff_id, "erofs_size_bytes",
                              (json_int_t)file->erofs_size_bytes, "erofs_digest", erofs_digest,
                              "tar_size_bytes", (json_int_t)file->tar_size_bytes));
    }
    return json_pack("{s:s, s:s, s:s, s:s?, s:o}", "reference", image->reference, "platform",
                     image->platform, "manifest_media_type", image->manifest_media_type,
                     "index_digest", image->index_digest, "layers", layers);
}

static char *format(const struct described_image *image)
{
    json_t *description = json_pack(
        "{s:s, s:s, s:s%, s:s%, s:o, s:o, s:o}", "manifest_digest", image->manifest_digest,
        "config_digest", image->config_digest, "raw_manifest_json", image->manifest,
        image->manifest_size_bytes, "raw_config_json", image->config, image->config_size_bytes,
        "config", describe_config(image), "layers", describe_layers(image), "larder",
        describe_rows(image));
    char *text = description ? json_dumps(description, JSON_COMPACT) : NULL;
    json_decref(description);
    if (!text)
        abort(); /* both documents were parsed as JSON, so they are UTF-8 */
    return text;
}

bool description_write(const struct described_image *image, int fd, struct error *error)
{
    cleanup_free char *text = format(image);
    const char *bytes = text;
    for (size_t left = strlen(text); left > 0;) {
        ssize_t count = write(fd, bytes, left);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno,
                                   "cannot write the image's description");
        bytes += count;
        left -= (size_t)count;
    }
    return true;
}
