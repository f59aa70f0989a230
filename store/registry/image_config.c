#include "store/registry/image_config.h"

#include "store/excerpt.h"
#include "store/registry/json_document.h"
#include "store/registry/manifest.h"

#include <string.h>

enum {
    LIST_MAX = 1 << 16, /* strings of one list; the document's size bounds their bytes */
};

static bool refuse(struct error *error, const char *member, const char *what)
{
    return error_set(error, ERROR_UNSUPPORTED_MANIFEST, "its %s is not %s", member, what);
}

/* NULL when absent, null or empty: to Docker these are the same. */
static bool read_string(struct arena *arena, const json_t *object, const char *key,
                        const char **out, struct error *error)
{
    json_t *member = json_document_member(object, key);
    if (member && !json_is_string(member))
        return refuse(error, key, "a string");
    *out = member && json_string_length(member) > 0 ? arena_strdup(arena, json_string_value(member))
                                                    : NULL;
    return true;
}

static bool read_list(struct arena *arena, const json_t *object, const char *key,
                      struct string_list *out, struct error *error)
{
    json_t *member = json_document_member(object, key);
    size_t count = json_array_size(member);
    if (!member)
        return true;
    if (!json_is_array(member) || count > LIST_MAX)
        return refuse(error, key, "an array of strings");
    out->is_given = true;
    out->items = arena_alloc_array(arena, count + 1, sizeof(*out->items));
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(member, i);
        if (!json_is_string(item))
            return refuse(error, key, "an array of strings");
        out->items[out->count++] = arena_strdup(arena, json_string_value(item));
    }
    return true;
}

static bool read_labels(struct arena *arena, const json_t *object, struct image_config *out,
                        struct error *error)
{
    json_t *member = json_document_member(object, "Labels");
    if (!member)
        return true;
    if (!json_is_object(member) || json_object_size(member) > LIST_MAX)
        return refuse(error, "Labels", "an object of strings");
    out->labels_are_given = true;
    out->labels = arena_alloc_array(arena, json_object_size(member) + 1, sizeof(*out->labels));
    const char *key;
    json_t *value;
    json_object_foreach(member, key, value) {
        if (!json_is_string(value))
            return refuse(error, "Labels", "an object of strings");
        out->labels[out->label_count++] = (struct label){
            .key = arena_strdup(arena, key),
            .value = arena_strdup(arena, json_string_value(value)),
        };
    }
    return true;
}

static bool read_execution(struct arena *arena, const json_t *json, struct image_config *out,
                           struct error *error)
{
    json_t *config = json_document_member(json, "config");
    if (!config)
        return true;
    if (!json_is_object(config))
        return refuse(error, "config", "an object");
    return read_list(arena, config, "Env", &out->env, error) &&
           read_list(arena, config, "Cmd", &out->cmd, error) &&
           read_list(arena, config, "Entrypoint", &out->entrypoint, error) &&
           read_string(arena, config, "WorkingDir", &out->working_dir, error) &&
           read_string(arena, config, "User", &out->user, error) &&
           read_string(arena, config, "StopSignal", &out->stop_signal, error) &&
           read_labels(arena, config, out, error);
}

/* Readers that fold case would see another config below the same digest. */
static bool check_spelling(const json_t *json, struct error *error)
{
    static const char *const names[] = {"os", "architecture", "variant", "config", "rootfs", NULL};
    static const char *const rootfs_names[] = {"type", "diff_ids", NULL};
    static const char *const config_names[] = {"Env",  "Cmd",        "Entrypoint", "WorkingDir",
                                               "User", "StopSignal", "Labels",     NULL};
    const char *key = json_document_misspelled(json, names);
    if (!key)
        key = json_document_misspelled(json_object_get(json, "rootfs"), rootfs_names);
    if (!key)
        key = json_document_misspelled(json_object_get(json, "config"), config_names);
    return !key || error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                             "its member \"%s\" can be read as another one", excerpt_of(key).text);
}

static bool read_platform(const json_t *json, struct image_config *out, struct error *error)
{
    const char *os = json_string_value(json_object_get(json, "os"));
    const char *architecture = json_string_value(json_object_get(json, "architecture"));
    json_t *variant = json_document_member(json, "variant");
    if (variant && !json_is_string(variant))
        return refuse(error, "variant", "a string");
    struct error reason;
    if (!platform_from_fields(os, architecture, json_string_value(variant), &out->platform,
                              &reason))
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST, "%s", reason.message);
    out->variant_is_given = json_string_length(variant) > 0;
    return true;
}

static bool read_rootfs(struct arena *arena, const json_t *json, struct image_config *out,
                        struct error *error)
{
    json_t *rootfs = json_document_member(json, "rootfs");
    const char *type = json_string_value(json_object_get(rootfs, "type"));
    json_t *diff_ids = json_object_get(rootfs, "diff_ids");
    size_t count = json_array_size(diff_ids);
    if (!type || strcmp(type, "layers") != 0)
        return refuse(error, "rootfs.type", "\"layers\"");
    if (!json_is_array(diff_ids) || count > MANIFEST_MAX_LAYERS)
        return refuse(error, "rootfs.diff_ids", "an array of at most 1024 digests");
    out->diff_ids = arena_alloc_array(arena, count + 1, sizeof(*out->diff_ids));
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(diff_ids, i));
        if (!text || !digest_parse(text, &out->diff_ids[i]))
            return refuse(error, "rootfs.diff_ids", "of sha256 digests only");
        out->diff_id_count++;
    }
    return true;
}

bool image_config_parse(struct arena *arena, const void *bytes, size_t size,
                        struct image_config *config, struct error *error)
{
    struct image_config out = {0};
    cleanup_json json_t *json =
        json_document_load(bytes, size, "the image config", ERROR_UNSUPPORTED_MANIFEST, error);
    if (!json)
        return false;
    if (!check_spelling(json, error) || !read_platform(json, &out, error) ||
        !read_rootfs(arena, json, &out, error) || !read_execution(arena, json, &out, error))
        return error_context(error, "the image config cannot be used");
    *config = out;
    return true;
}

/* Many configs leave out the variant that their index names. */
static bool contradicts(const struct image_config *config, const struct platform *platform)
{
    if (strcmp(config->platform.os, platform->os) != 0 ||
        strcmp(config->platform.architecture, platform->architecture) != 0)
        return true;
    return config->variant_is_given && platform->variant[0] &&
           strcmp(config->platform.variant, platform->variant) != 0;
}

bool image_config_check(const struct image_config *config, size_t layer_count,
                        const struct platform *platform, struct error *error)
{
    if (config->diff_id_count != layer_count)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "the manifest has %zu layers, but its config has %zu diff_ids",
                         layer_count, config->diff_id_count);
    if (!platform || !contradicts(config, platform))
        return true;
    char expected[PLATFORM_TEXT_SIZE];
    char found[PLATFORM_TEXT_SIZE];
    platform_format(platform, expected);
    platform_format(&config->platform, found);
    return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                     "the index lists this image for %s, but its config says %s", expected, found);
}

struct platform image_config_platform(const struct image_config *config,
                                      const struct platform *indexed)
{
    struct platform platform = config->platform;
    if (indexed && !config->variant_is_given)
        memcpy(platform.variant, indexed->variant, sizeof(indexed->variant));
    return platform;
}

static json_t *list_json(const struct string_list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_string(list->items[i]));
    return array;
}

static json_t *list_json_or_null(const struct string_list *list)
{
    return list->is_given ? list_json(list) : json_null();
}

static json_t *string_json_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static json_t *labels_json(const struct image_config *config)
{
    if (!config->labels_are_given)
        return json_null();
    json_t *object = json_object();
    for (size_t i = 0; i < config->label_count; i++)
        json_object_set_new(object, config->labels[i].key, json_string(config->labels[i].value));
    return object;
}

const char *image_config_detail_json(struct arena *arena, const struct image_config *config,
                                     const struct digest *config_digest)
{
    char digest[DIGEST_TEXT_SIZE];
    digest_format(config_digest, digest);
    cleanup_json json_t *json = json_object();
    json_object_set_new(json, "digest", json_string(digest));
    json_object_set_new(json, "env", list_json(&config->env));
    json_object_set_new(json, "cmd", list_json_or_null(&config->cmd));
    json_object_set_new(json, "entrypoint", list_json_or_null(&config->entrypoint));
    json_object_set_new(json, "working_dir", string_json_or_null(config->working_dir));
    json_object_set_new(json, "user", string_json_or_null(config->user));
    json_object_set_new(json, "labels", labels_json(config));
    json_object_set_new(json, "stop_signal", string_json_or_null(config->stop_signal));

    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    if (!text)
        abort(); /* out of memory, as in the arena */
    return arena_strdup(arena, text);
}
