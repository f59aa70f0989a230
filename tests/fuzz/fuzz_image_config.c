/* store/registry/image_config.h: what parses is what jansson reads in the document, and its
 * detail is valid JSON that says the same, with every field. */
#include "store/registry/image_config.h"

#include "json_spelling.h"

#include <stdint.h>

static bool is_nothing(const json_t *json)
{
    return !json || json_is_null(json) || (json_is_string(json) && json_string_length(json) == 0);
}

/* The detail has what the document has, or null. */
static void check_field(const json_t *detail, const char *name, const json_t *given)
{
    const json_t *said = json_object_get(detail, name);
    assert(is_nothing(given) ? json_is_null(said) : json_equal(said, given));
}

static void check_detail(const json_t *detail, const json_t *document)
{
    const json_t *config = json_object_get(document, "config");
    const json_t *env = json_object_get(config, "Env");
    assert(json_object_size(detail) == 8);
    if (is_nothing(env))
        assert(json_array_size(json_object_get(detail, "env")) == 0);
    else
        check_field(detail, "env", env);
    check_field(detail, "cmd", json_object_get(config, "Cmd"));
    check_field(detail, "entrypoint", json_object_get(config, "Entrypoint"));
    check_field(detail, "working_dir", json_object_get(config, "WorkingDir"));
    check_field(detail, "user", json_object_get(config, "User"));
    check_field(detail, "labels", json_object_get(config, "Labels"));
    check_field(detail, "stop_signal", json_object_get(config, "StopSignal"));
}

static void check_layers(const struct image_config *config, const json_t *document)
{
    const json_t *rootfs = json_object_get(document, "rootfs");
    const json_t *diff_ids = json_object_get(rootfs, "diff_ids");
    assert(json_array_size(diff_ids) == config->diff_id_count);
    for (size_t i = 0; i < config->diff_id_count; i++) {
        char text[DIGEST_TEXT_SIZE];
        digest_format(&config->diff_ids[i], text);
        assert(strcmp(text, json_string_value(json_array_get(diff_ids, i))) == 0);
    }
}

static void check_platform(const struct platform *platform)
{
    struct platform again;
    struct error error;
    char text[PLATFORM_TEXT_SIZE];
    platform_format(platform, text);
    assert(platform_parse(text, &again, &error) && platform_equal(&again, platform));
}

static void check_members(json_t *document)
{
    static const char *const names[] = {"os", "architecture", "variant", "rootfs", "config", NULL};
    static const char *const rootfs_names[] = {"type", "diff_ids", NULL};
    static const char *const config_names[] = {"Env",  "Cmd",        "Entrypoint", "WorkingDir",
                                               "User", "StopSignal", "Labels",     NULL};
    json_spelling_check(document, names);
    json_spelling_check(json_object_get(document, "rootfs"), rootfs_names);
    json_spelling_check(json_object_get(document, "config"), config_names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    cleanup_arena struct arena arena = {0};
    struct image_config config;
    struct error error = {0};
    if (!image_config_parse(&arena, data, size_bytes, &config, &error)) {
        assert(error.code == ERROR_UNSUPPORTED_MANIFEST);
        return 0;
    }
    assert(image_config_check(&config, config.diff_id_count, &config.platform, &error));
    assert(!image_config_check(&config, config.diff_id_count + 1, NULL, &error));
    struct digest digest = digest_of(data, size_bytes);
    const char *text = image_config_detail_json(&arena, &config, &digest);
    json_t *detail = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_t *document = json_loadb((const char *)data, size_bytes, JSON_REJECT_DUPLICATES, NULL);
    assert(detail && document);
    check_detail(detail, document);
    check_layers(&config, document);
    check_platform(&config.platform);
    check_members(document);
    json_decref(document);
    json_decref(detail);
    return 0;
}
