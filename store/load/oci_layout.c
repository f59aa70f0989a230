/* An OCI image layout: index.json, what it leads to, and blobs by digest. */
#include "store/excerpt.h"
#include "store/load/listing.h"
#include "store/registry/json_document.h"

#include <string.h>

/* What index.json lists. */
struct layout_entry {
    struct index_entry entry;
    enum media_kind kind;
    const char *name; /* NULL: none */
};

static const char *annotation(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(json_document_member(object, "annotations"), key));
}

/* containerd writes the whole name beside the tag. A bare tag names nothing: skopeo and
 * others write what the user gave them, which may be a name without a tag as well. */
static const char *name_of(const json_t *object)
{
    const char *full = annotation(object, "io.containerd.image.name");
    const char *reference = annotation(object, "org.opencontainers.image.ref.name");
    if (full && *full)
        return full;
    return reference && strpbrk(reference, "/:") ? reference : NULL;
}

static bool has_attestation_mark(const json_t *object)
{
    return json_document_member(object, "artifactType") != NULL ||
           annotation(object, "vnd.docker.reference.type") != NULL;
}

/* `kind` is MEDIA_UNKNOWN for what is no image. */
static bool read_entry(struct arena *arena, const json_t *object, struct layout_entry *out,
                       struct error *error)
{
    *out = (struct layout_entry){.name = arena_strdup(arena, name_of(object))};
    bool is_image = true;
    if (!manifest_read_entry(arena, object, &out->entry, &is_image, error))
        return error_context(error, "the archive's index.json cannot be used");
    if (is_image && !has_attestation_mark(object))
        out->kind = media_type_kind(out->entry.manifest.media_type);
    return true;
}

static const char *digest_text(const struct digest *digest, struct arena *arena)
{
    char *text = arena_alloc(arena, DIGEST_TEXT_SIZE);
    digest_format(digest, text);
    return text;
}

static bool read_blob(struct listing *listing, const struct descriptor *descriptor,
                      const char *what, struct archive_document *document, struct error *error)
{
    const char *digest = digest_text(&descriptor->digest, listing->arena);
    const struct archive_member *member = archive_find_blob(listing->archive, &descriptor->digest);
    if (!member)
        return error_set(error, ERROR_INVALID_ARGUMENT, "the archive lacks the blob %s, %s", digest,
                         what);
    if (!archive_read_document(listing->archive, member, listing->arena, document, error))
        return false;
    if (digest_equal(&document->digest, &descriptor->digest) &&
        document->size_bytes == descriptor->size_bytes)
        return true;
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "the archive is damaged: %s %s has %zu bytes of the digest %s; %llu bytes are "
                     "right",
                     what, digest, document->size_bytes,
                     digest_text(&document->digest, listing->arena),
                     (unsigned long long)descriptor->size_bytes);
}

static bool find_layers(struct listing *listing, struct archive_image *image, struct error *error)
{
    const struct manifest_document *manifest = &image->manifest;
    image->layers =
        arena_alloc_array(listing->arena, manifest->layer_count, sizeof(*image->layers));
    for (size_t i = 0; i < manifest->layer_count; i++) {
        const struct descriptor *blob = &manifest->layers[i].blob;
        image->layers[i] = archive_find_blob(listing->archive, &blob->digest);
        if (!image->layers[i])
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "the archive lacks the blob %s, layer %zu of an image",
                             digest_text(&blob->digest, listing->arena), i);
        if (image->layers[i]->size_bytes != blob->size_bytes)
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "the archive is damaged: layer %s has %llu bytes instead of %llu",
                             digest_text(&blob->digest, listing->arena),
                             (unsigned long long)image->layers[i]->size_bytes,
                             (unsigned long long)blob->size_bytes);
    }
    return true;
}

static bool read_image(struct listing *listing, const struct index_entry *entry,
                       struct archive_image *image, struct error *error)
{
    struct arena *arena = listing->arena;
    struct archive_document *manifest = &image->manifest_bytes;
    struct archive_document *config = &image->config_bytes;
    if (!read_blob(listing, &entry->manifest, "a manifest", manifest, error) ||
        !manifest_parse(arena, manifest->bytes, manifest->size_bytes, entry->manifest.media_type,
                        &image->manifest, error))
        return false;
    if (image->manifest.kind != MEDIA_MANIFEST)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "an index leads to another index where only manifests may stand");
    return read_blob(listing, &image->manifest.config, "an image's config", config, error) &&
           image_config_parse(arena, config->bytes, config->size_bytes, &image->config, error) &&
           find_layers(listing, image, error);
}

static bool add_image(struct listing *listing, const struct index_entry *entry,
                      const struct digest *index_digest, const struct reference *reference,
                      struct error *error)
{
    const struct platform *indexed = entry->platform_is_known ? &entry->platform : NULL;
    if (indexed && listing_leaves_out(listing, indexed))
        return true;
    struct archive_image image = {.is_from_index = index_digest != NULL};
    if (index_digest)
        image.index_digest = *index_digest;
    if (read_image(listing, entry, &image, error) &&
        listing_add(listing, &image, reference, indexed, error))
        return true;
    char platform[PLATFORM_TEXT_SIZE] = "";
    if (indexed)
        platform_format(indexed, platform);
    char name[REFERENCE_TEXT_SIZE];
    reference_format(reference, name);
    return error_context(error, "%s%s%s", name, indexed ? " for " : "", platform);
}

/* An index below index.json: several platforms of one image. */
static bool add_index(struct listing *listing, const struct index_entry *entry,
                      const struct reference *reference, struct error *error)
{
    struct archive_document bytes;
    struct manifest_document index;
    bool found = false;
    if (!read_blob(listing, &entry->manifest, "an index", &bytes, error) ||
        !manifest_parse(listing->arena, bytes.bytes, bytes.size_bytes, entry->manifest.media_type,
                        &index, error))
        return false;
    for (size_t i = 0; i < index.entry_count; i++) {
        if (!archive_find_blob(listing->archive, &index.entries[i].manifest.digest))
            continue;
        found = true;
        if (!add_image(listing, &index.entries[i], &bytes.digest, reference, error))
            return false;
    }
    return found || error_set(error, ERROR_INVALID_ARGUMENT,
                              "the archive has none of the images that its index %s lists",
                              digest_text(&bytes.digest, listing->arena));
}

static bool add_entry(struct listing *listing, const struct layout_entry *entry, bool is_first,
                      struct error *error)
{
    struct reference reference;
    if (is_first && listing->choice->reference)
        reference = *listing->choice->reference;
    else if (!entry->name)
        return listing_refuse_nameless(is_first ? "its image" : "one of its images", error);
    else if (!listing_parse_name(entry->name, &reference, error))
        return false;
    return entry->kind == MEDIA_INDEX ? add_index(listing, &entry->entry, &reference, error)
                                      : add_image(listing, &entry->entry, NULL, &reference, error);
}

static bool list_entries(struct listing *listing, const json_t *index, struct error *error)
{
    const json_t *manifests = json_object_get(index, "manifests");
    size_t count = json_array_size(manifests);
    if (!json_is_array(manifests) || count > MANIFEST_MAX_ENTRIES)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the archive's index.json lists no manifests, or more than %d",
                         MANIFEST_MAX_ENTRIES);
    bool is_first = true;
    for (size_t i = 0; i < count; i++) {
        struct layout_entry entry;
        if (!read_entry(listing->arena, json_array_get(manifests, i), &entry, error))
            return false;
        if (entry.kind != MEDIA_INDEX && entry.kind != MEDIA_MANIFEST)
            continue; /* a signature, an attestation: nothing to boot from */
        if (!add_entry(listing, &entry, is_first, error))
            return false;
        is_first = false;
    }
    return true;
}

bool oci_layout_list(struct listing *listing, struct error *error)
{
    struct archive_document document;
    if (!listing_read(listing, "index.json", "its table of contents", &document, error))
        return false;
    cleanup_json json_t *index =
        json_document_load(document.bytes, document.size_bytes, "the archive's index.json",
                           ERROR_INVALID_ARGUMENT, error);
    return index && list_entries(listing, index, error);
}
