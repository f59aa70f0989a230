#include "store/registry/manifest.h"

#include "store/excerpt.h"
#include "store/registry/json_document.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static bool refuse(struct error *error, const char *why)
{
    return error_set(error, ERROR_UNSUPPORTED_MANIFEST, "%s", why);
}

/* The normalised media type in a member, "" when there is none. */
static bool read_media_type(const json_t *object, char out[MEDIA_TYPE_SIZE], struct error *error)
{
    json_t *member = json_document_member(object, "mediaType");
    out[0] = '\0';
    if (!member)
        return true;
    if (!json_is_string(member))
        return refuse(error, "its mediaType is not a string");
    media_type_normalise(json_string_value(member), out);
    return true;
}

/* Readers that fold case would see another document below the same digest. */
static bool check_spelling(const json_t *object, const char *const names[], struct error *error)
{
    const char *key = json_document_misspelled(object, names);
    return !key || error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                             "its member \"%s\" can be read as another one", excerpt_of(key).text);
}

static bool read_descriptor(struct arena *arena, const json_t *object, struct descriptor *out,
                            struct error *error)
{
    static const char *const names[] = {"mediaType", "digest",       "size",
                                        "platform",  "artifactType", NULL};
    char media_type[MEDIA_TYPE_SIZE];
    if (!json_is_object(object))
        return refuse(error, "a descriptor is missing or not an object");
    if (!check_spelling(object, names, error) || !read_media_type(object, media_type, error))
        return false;

    const char *digest = json_string_value(json_object_get(object, "digest"));
    if (!digest || !digest_parse(digest, &out->digest))
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "a descriptor's digest \"%s\" is not sha256 and 64 hex digits",
                         excerpt_of(digest).text);
    json_t *size = json_object_get(object, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "the size of descriptor %s is not a whole number from 0 on", digest);
    out->size_bytes = (uint64_t)json_integer_value(size);
    out->media_type = arena_strdup(arena, media_type);
    return true;
}

/* What may be read as an index or a manifest is neither: tools would disagree about
 * what the digest stands for. */
static bool kind_of_shape(const json_t *document, enum media_kind *kind, struct error *error)
{
    static const char *const names[] = {"schemaVersion", "mediaType", "config", "layers",
                                        "manifests",     "fsLayers",  NULL};
    if (!check_spelling(document, names, error))
        return false;
    bool like_index = json_object_get(document, "manifests") != NULL;
    bool like_manifest =
        json_object_get(document, "layers") != NULL || json_object_get(document, "config") != NULL;
    bool like_schema1 = json_object_get(document, "fsLayers") != NULL;
    if (like_index + like_manifest + like_schema1 > 1)
        return refuse(error, "it can be read as an index and as a manifest");
    *kind = like_index      ? MEDIA_INDEX
            : like_manifest ? MEDIA_MANIFEST
            : like_schema1  ? MEDIA_SCHEMA1
                            : MEDIA_UNKNOWN;
    return true;
}

static bool is_document(const char *media_type)
{
    enum media_kind kind = media_type_kind(media_type);
    return kind == MEDIA_INDEX || kind == MEDIA_MANIFEST || kind == MEDIA_SCHEMA1;
}

/* The type that header and document agree on. A header that names no document
 * (application/json) says nothing; a document may leave its type out. */
static bool agree_media_type(const char *header, const char *own, char out[MEDIA_TYPE_SIZE],
                             struct error *error)
{
    if (own[0] && is_document(header) && strcmp(own, header) != 0)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "it says that it is \"%s\", but came as \"%s\"", excerpt_of(own).text,
                         header);
    snprintf(out, MEDIA_TYPE_SIZE, "%s", own[0] || !is_document(header) ? own : header);
    return true;
}

static const char *default_media_type(enum media_kind kind)
{
    return kind == MEDIA_INDEX ? "application/vnd.oci.image.index.v1+json"
                               : "application/vnd.oci.image.manifest.v1+json";
}

static bool settle_kind(struct arena *arena, const json_t *json, const char *content_type,
                        struct manifest_document *out, struct error *error)
{
    char header[MEDIA_TYPE_SIZE];
    char own[MEDIA_TYPE_SIZE];
    char agreed[MEDIA_TYPE_SIZE];
    enum media_kind shape = MEDIA_UNKNOWN;
    media_type_normalise(content_type, header);
    if (!kind_of_shape(json, &shape, error) || !read_media_type(json, own, error) ||
        !agree_media_type(header, own, agreed, error))
        return false;

    enum media_kind said = agreed[0] ? media_type_kind(agreed) : shape;
    if (said == MEDIA_SCHEMA1 || shape == MEDIA_SCHEMA1)
        return refuse(error, "it is of Docker's schema 1, which registries gave up in 2019; push "
                             "the image again with a current tool");
    if (said != MEDIA_INDEX && said != MEDIA_MANIFEST)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "\"%s\" is not the type of an image or an index",
                         excerpt_of(agreed[0] ? agreed : header).text);
    if (said != shape)
        return refuse(error, said == MEDIA_INDEX ? "it is called an index, but has no manifests"
                                                 : "it is called a manifest, but has no layers");
    out->kind = said;
    out->media_type = arena_strdup(arena, agreed[0] ? agreed : default_media_type(said));
    return true;
}

/* Absent is fine; what is there must be well-formed. "unknown/unknown" is how
 * BuildKit marks attestations. */
static bool read_platform(const json_t *object, struct index_entry *out, bool *is_image,
                          struct error *error)
{
    static const char *const names[] = {"os", "architecture", "variant", NULL};
    json_t *platform = json_document_member(object, "platform");
    *is_image = true;
    if (!platform)
        return true;
    if (!check_spelling(platform, names, error))
        return false;
    const char *os = json_string_value(json_object_get(platform, "os"));
    const char *architecture = json_string_value(json_object_get(platform, "architecture"));
    const char *variant = json_string_value(json_object_get(platform, "variant"));
    struct error reason;
    if (!platform_from_fields(os, architecture, variant, &out->platform, &reason))
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST, "%s", reason.message);
    out->platform_is_known = true;
    *is_image = strcmp(out->platform.os, "unknown") != 0;
    return true;
}

bool manifest_read_entry(struct arena *arena, const json_t *object, struct index_entry *entry,
                         bool *is_image, struct error *error)
{
    *entry = (struct index_entry){0};
    return read_descriptor(arena, object, &entry->manifest, error) &&
           read_platform(object, entry, is_image, error);
}

static bool read_entry(struct arena *arena, const json_t *object, struct manifest_document *out,
                       struct error *error)
{
    struct index_entry entry;
    bool is_image;
    if (!manifest_read_entry(arena, object, &entry, &is_image, error))
        return false;
    bool is_artifact = json_document_member(object, "artifactType") != NULL;
    if (is_image && !is_artifact && media_type_kind(entry.manifest.media_type) == MEDIA_MANIFEST)
        out->entries[out->entry_count++] = entry;
    return true;
}

static bool read_index(struct arena *arena, const json_t *json, struct manifest_document *out,
                       struct error *error)
{
    json_t *manifests = json_object_get(json, "manifests");
    if (!json_is_array(manifests))
        return refuse(error, "its manifests are not an array");
    size_t count = json_array_size(manifests);
    if (count > MANIFEST_MAX_ENTRIES)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "it lists %zu manifests; more than %d are not read", count,
                         MANIFEST_MAX_ENTRIES);
    out->entries = arena_alloc_array(arena, count + 1, sizeof(*out->entries));
    for (size_t i = 0; i < count; i++)
        if (!read_entry(arena, json_array_get(manifests, i), out, error))
            return error_context(error, "manifest %zu of it", i);
    return true;
}

static bool read_config(struct arena *arena, const json_t *json, struct manifest_document *out,
                        struct error *error)
{
    if (!read_descriptor(arena, json_object_get(json, "config"), &out->config, error))
        return error_context(error, "its config");
    if (media_type_kind(out->config.media_type) != MEDIA_CONFIG)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "it is an artifact (config of type \"%s\"), not an image with a root "
                         "filesystem",
                         excerpt_of(out->config.media_type).text);
    if (out->config.size_bytes > JSON_DOCUMENT_MAX_BYTES)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST, "its config is larger than %d bytes",
                         JSON_DOCUMENT_MAX_BYTES);
    return true;
}

static bool read_layers(struct arena *arena, const json_t *json, struct manifest_document *out,
                        struct error *error)
{
    json_t *layers = json_object_get(json, "layers");
    size_t count = json_array_size(layers);
    if (!json_is_array(layers) || count == 0)
        return refuse(error, "it has no layers");
    if (count > MANIFEST_MAX_LAYERS)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "it has %zu layers; more than %d are not taken", count,
                         MANIFEST_MAX_LAYERS);
    out->layers = arena_alloc_array(arena, count, sizeof(*out->layers));
    out->layer_count = count;
    for (size_t i = 0; i < count; i++) {
        struct manifest_layer *layer = &out->layers[i];
        if (!read_descriptor(arena, json_array_get(layers, i), &layer->blob, error) ||
            !media_type_compression(layer->blob.media_type, &layer->compression, error))
            return error_context(error, "layer %zu of it", i);
    }
    return true;
}

static bool read_document(struct arena *arena, const json_t *json, const char *content_type,
                          struct manifest_document *out, struct error *error)
{
    if (!settle_kind(arena, json, content_type, out, error))
        return false;
    if (json_integer_value(json_object_get(json, "schemaVersion")) != 2)
        return refuse(error, "its schemaVersion is not 2");
    if (out->kind == MEDIA_INDEX)
        return read_index(arena, json, out, error);
    return read_config(arena, json, out, error) && read_layers(arena, json, out, error);
}

bool manifest_parse(struct arena *arena, const void *bytes, size_t size, const char *content_type,
                    struct manifest_document *document, struct error *error)
{
    struct manifest_document out = {0};
    cleanup_json json_t *json =
        json_document_load(bytes, size, "the manifest", ERROR_UNSUPPORTED_MANIFEST, error);
    if (!json)
        return false;
    if (!read_document(arena, json, content_type, &out, error))
        return error_context(error, "the manifest cannot be used");
    *document = out;
    return true;
}

/* "linux/amd64, linux/arm64"; as much as fits, then "…". */
static void list_platforms(const struct manifest_document *index, char *out, size_t out_size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < index->entry_count; i++) {
        char text[PLATFORM_TEXT_SIZE] = "one that it does not name";
        if (index->entries[i].platform_is_known)
            platform_format(&index->entries[i].platform, text);
        int length = snprintf(out + used, out_size - used, "%s%s", used ? ", " : "", text);
        if (length < 0 || (size_t)length >= out_size - used) {
            snprintf(out + used, out_size - used, ", ...");
            return;
        }
        used += (size_t)length;
    }
}

static bool platform_not_found(const struct manifest_document *index, const struct platform *wanted,
                               struct error *error)
{
    char wanted_text[PLATFORM_TEXT_SIZE];
    char offered[512];
    platform_format(wanted, wanted_text);
    list_platforms(index, offered, sizeof(offered));
    if (index->entry_count == 0)
        return error_set(error, ERROR_PLATFORM_NOT_FOUND,
                         "there is no image for %s: the index lists no images", wanted_text);
    return error_set(error, ERROR_PLATFORM_NOT_FOUND, "there is no image for %s, only for %s",
                     wanted_text, offered);
}

bool manifest_choose(const struct manifest_document *index, const struct platform *wanted,
                     const struct index_entry **chosen, struct error *error)
{
    const struct index_entry *best = NULL;
    int best_rank = INT_MAX;
    for (size_t i = 0; i < index->entry_count; i++) {
        const struct index_entry *entry = &index->entries[i];
        int rank = entry->platform_is_known ? platform_rank(wanted, &entry->platform) : -1;
        if (rank >= 0 && rank < best_rank) {
            best = entry;
            best_rank = rank;
        }
    }
    if (!best && index->entry_count == 1 && !index->entries[0].platform_is_known)
        best = &index->entries[0];
    if (!best)
        return platform_not_found(index, wanted, error);
    *chosen = best;
    return true;
}
