/* store/registry/manifest.h: the first byte picks the Content-Type. Whatever parses
 * keeps the header's promises, its kind is what the Content-Type says, and its descriptors are
 * those that jansson reads in the document. */
#include "store/registry/manifest.h"

#include "json_spelling.h"

static const char *const content_types[] = {
    "",
    "application/json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
};

static bool is_same(const struct descriptor *descriptor, const json_t *json)
{
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&descriptor->digest, digest);
    const char *text = json_string_value(json_object_get(json, "digest"));
    json_t *size = json_object_get(json, "size");
    return text && strcmp(text, digest) == 0 && json_is_integer(size) &&
           json_integer_value(size) == (json_int_t)descriptor->size_bytes;
}

static bool is_image(const struct descriptor *descriptor, const json_t *json)
{
    const json_t *artifact = json_object_get(json, "artifactType");
    return is_same(descriptor, json) && (!artifact || json_is_null(artifact));
}

static bool is_for(const struct index_entry *entry, const struct platform *platform)
{
    return entry->platform_is_known && platform_equal(&entry->platform, platform);
}

/* Nothing suits better than the first that is exactly for the platform; else nothing before
 * the chosen one suits as well, and nothing behind it better. */
static void check_choice(const struct manifest_document *document, const struct platform *wanted)
{
    const struct index_entry *chosen = NULL;
    struct error error = {0};
    if (!manifest_choose(document, wanted, &chosen, &error)) {
        assert(error.code == ERROR_PLATFORM_NOT_FOUND);
        for (size_t i = 0; i < document->entry_count; i++)
            assert(!is_for(&document->entries[i], wanted));
        return;
    }
    assert(chosen >= document->entries && chosen < document->entries + document->entry_count);
    if (!chosen->platform_is_known) {
        assert(document->entry_count == 1);
        return;
    }
    int best = platform_rank(wanted, &chosen->platform);
    assert(best >= 0 && (best > 0 || is_for(chosen, wanted)));
    for (const struct index_entry *entry = document->entries;
         entry < document->entries + document->entry_count; entry++) {
        int rank = entry->platform_is_known ? platform_rank(wanted, &entry->platform) : -1;
        assert(rank < 0 || rank > best || (rank == best && entry >= chosen));
    }
}

static void check_platform(const struct manifest_document *document,
                           const struct platform *platform)
{
    char text[PLATFORM_TEXT_SIZE];
    struct platform again;
    struct error error;
    platform_format(platform, text);
    assert(platform_parse(text, &again, &error) && platform_equal(&again, platform));
    assert(strcmp(platform->os, "unknown") != 0);
    check_choice(document, platform);
}

/* Entries are those of the document, in its order, but for those that are no images. */
static void check_index(const struct manifest_document *document, const json_t *json)
{
    enum { CHOICES = 16 };
    struct platform machine = platform_of_machine();
    const json_t *manifests = json_object_get(json, "manifests");
    size_t at = 0;
    assert(document->layer_count == 0 && document->entry_count <= MANIFEST_MAX_ENTRIES);
    for (size_t i = 0; i < document->entry_count; i++, at++) {
        const struct index_entry *entry = &document->entries[i];
        while (at < json_array_size(manifests) &&
               !is_image(&entry->manifest, json_array_get(manifests, at)))
            at++;
        assert(at < json_array_size(manifests) && entry->manifest.size_bytes <= INT64_MAX);
        assert(media_type_kind(entry->manifest.media_type) == MEDIA_MANIFEST);
        if (entry->platform_is_known && i < CHOICES)
            check_platform(document, &entry->platform);
    }
    check_choice(document, &machine);
}

static void check_manifest(const struct manifest_document *document, const json_t *json)
{
    const json_t *layers = json_object_get(json, "layers");
    assert(document->entry_count == 0);
    assert(document->layer_count > 0 && document->layer_count <= MANIFEST_MAX_LAYERS);
    assert(document->layer_count == json_array_size(layers));
    assert(is_same(&document->config, json_object_get(json, "config")));
    assert(media_type_kind(document->config.media_type) == MEDIA_CONFIG);
    for (size_t i = 0; i < document->layer_count; i++) {
        const struct manifest_layer *layer = &document->layers[i];
        enum layer_compression compression;
        struct error error;
        assert(is_same(&layer->blob, json_array_get(layers, i)));
        assert(media_type_compression(layer->blob.media_type, &compression, &error));
        assert(compression == layer->compression && layer->blob.size_bytes <= INT64_MAX);
    }
}

static void check_descriptor_spelling(json_t *descriptor)
{
    static const char *const names[] = {"mediaType", "digest",       "size",
                                        "platform",  "artifactType", NULL};
    json_spelling_check(descriptor, names);
}

/* GHSA-5j5w-g665-5m35: no reader may take it for the other one, whatever case he folds. */
static void check_members(const struct manifest_document *document, json_t *json)
{
    static const char *const names[] = {"manifests", "layers", "config", "mediaType", NULL};
    static const char *const platform_names[] = {"os", "architecture", "variant", NULL};
    bool is_index = document->kind == MEDIA_INDEX;
    size_t i;
    json_t *descriptor;
    json_spelling_check(json, names);
    assert(!json_object_get(json, is_index ? "layers" : "manifests"));
    assert(!is_index || !json_object_get(json, "config"));
    json_array_foreach(json_object_get(json, is_index ? "manifests" : "layers"), i, descriptor) {
        check_descriptor_spelling(descriptor);
        if (is_index)
            json_spelling_check(json_object_get(descriptor, "platform"), platform_names);
    }
    check_descriptor_spelling(json_object_get(json, "config"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    cleanup_arena struct arena arena = {0};
    struct manifest_document document;
    struct error error = {0};
    if (size_bytes == 0)
        return 0;
    const char *content_type =
        content_types[data[0] % (sizeof(content_types) / sizeof(content_types[0]))];
    if (!manifest_parse(&arena, data + 1, size_bytes - 1, content_type, &document, &error)) {
        assert(error.code == ERROR_UNSUPPORTED_MANIFEST);
        return 0;
    }
    char header[MEDIA_TYPE_SIZE];
    media_type_normalise(content_type, header);
    enum media_kind said = media_type_kind(header);
    assert(said == MEDIA_UNKNOWN || said == document.kind);
    json_t *json = json_loadb((const char *)data + 1, size_bytes - 1, JSON_REJECT_DUPLICATES, NULL);
    assert(json && json_integer_value(json_object_get(json, "schemaVersion")) == 2);
    check_members(&document, json);
    if (document.kind == MEDIA_INDEX)
        check_index(&document, json);
    else
        check_manifest(&document, json);
    json_decref(json);
    return 0;
}
