/* What `docker save` writes where there is no OCI layout: manifest.json lists images,
 * each with a config, tags and the names of its layers' tars (moby's image-spec v1.2,
 * "Combined Image JSON + Filesystem Changeset Format"). There is no manifest as a registry
 * has it: one is made, always the same for the same config and layers. */
#include "store/convert/inflate.h"
#include "store/excerpt.h"
#include "store/load/listing.h"
#include "store/registry/json_document.h"

#include <string.h>

static const char manifest_type[] = "application/vnd.docker.distribution.manifest.v2+json";
static const char config_type[] = "application/vnd.docker.container.image.v1+json";
static const char *const layer_types[] = {
    [LAYER_PLAIN] = "application/vnd.docker.image.rootfs.diff.tar",
    [LAYER_GZIP] = "application/vnd.docker.image.rootfs.diff.tar.gzip",
    [LAYER_ZSTD] = "application/vnd.docker.image.rootfs.diff.tar.zstd",
};

static bool refuse(struct error *error, const char *why)
{
    return error_set(error, ERROR_INVALID_ARGUMENT, "the archive's manifest.json %s", why);
}

/* The digest of a member's bytes, as a registry would call that blob. */
static bool digest_member(const struct archive *archive, const struct archive_member *member,
                          struct digest *digest, struct error *error)
{
    enum { PIECE_BYTES = 128 << 10 };
    cleanup_free char *piece = malloc(PIECE_BYTES);
    if (!piece)
        abort();
    cleanup_digest_state struct digest_state *state = digest_state_new();
    for (uint64_t offset = 0; offset < member->size_bytes;) {
        uint64_t left = member->size_bytes - offset;
        size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        if (!archive_read(archive, member, offset, piece, size, error))
            return false;
        digest_state_update(state, piece, size);
        offset += size;
    }
    *digest = digest_state_finish(state);
    return true;
}

/* Docker saves plain tars, others compressed ones under the same names. */
static bool describe_layer(const struct archive *archive, const struct archive_member *member,
                           const struct digest *diff_id, struct manifest_layer *layer,
                           struct error *error)
{
    uint8_t magic[INFLATE_MAGIC_BYTES] = {0};
    size_t size = member->size_bytes < sizeof(magic) ? (size_t)member->size_bytes : sizeof(magic);
    if (!archive_read(archive, member, 0, magic, size, error))
        return false;
    layer->compression = inflate_detect(magic, size);
    layer->blob.media_type = layer_types[layer->compression];
    layer->blob.size_bytes = member->size_bytes;
    layer->blob.digest = *diff_id; /* of a plain tar; the converter checks it */
    return layer->compression == LAYER_PLAIN ||
           digest_member(archive, member, &layer->blob.digest, error);
}

static json_t *descriptor_json(const char *media_type, uint64_t size_bytes,
                               const struct digest *digest)
{
    char text[DIGEST_TEXT_SIZE];
    digest_format(digest, text);
    return json_pack("{s:s, s:I, s:s}", "mediaType", media_type, "size", (json_int_t)size_bytes,
                     "digest", text);
}

/* Written in one fixed form, since the image is known by its digest. */
static bool write_manifest(struct arena *arena, struct archive_image *image,
                           const struct manifest_layer *layers, size_t layer_count,
                           struct error *error)
{
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < layer_count; i++)
        json_array_append_new(array,
                              descriptor_json(layers[i].blob.media_type, layers[i].blob.size_bytes,
                                              &layers[i].blob.digest));
    cleanup_json json_t *manifest = json_pack(
        "{s:i, s:s, s:o, s:O}", "schemaVersion", 2, "mediaType", manifest_type, "config",
        descriptor_json(config_type, image->config_bytes.size_bytes, &image->config_bytes.digest),
        "layers", array);
    cleanup_free char *text = manifest ? json_dumps(manifest, JSON_COMPACT) : NULL;
    if (!text)
        abort(); /* out of memory, as in the arena */
    image->manifest_bytes.bytes = arena_strdup(arena, text);
    image->manifest_bytes.size_bytes = strlen(text);
    image->manifest_bytes.digest = digest_of(text, strlen(text));
    return manifest_parse(arena, image->manifest_bytes.bytes, image->manifest_bytes.size_bytes,
                          manifest_type, &image->manifest, error);
}

static bool read_layers(struct listing *listing, const json_t *names, struct archive_image *image,
                        struct error *error)
{
    const size_t count = json_array_size(names);
    struct manifest_layer *layers = arena_alloc_array(listing->arena, count + 1, sizeof(*layers));
    image->layers = arena_alloc_array(listing->arena, count + 1, sizeof(*image->layers));
    if (!image_config_check(&image->config, count, NULL, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (!name)
            return refuse(error, "lists a layer that is no name");
        const struct archive_member *member = archive_find(listing->archive, name);
        if (!member)
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "the archive lacks \"%s\", a layer of an image",
                             excerpt_of(name).text);
        if (!describe_layer(listing->archive, member, &image->config.diff_ids[i], &layers[i],
                            error))
            return false;
        image->layers[i] = member;
    }
    return write_manifest(listing->arena, image, layers, count, error);
}

static bool read_image(struct listing *listing, const json_t *object, struct archive_image *image,
                       struct error *error)
{
    const char *config_name = json_string_value(json_object_get(object, "Config"));
    const json_t *layers = json_document_member(object, "Layers");
    if (!config_name || (layers && !json_is_array(layers)))
        return refuse(error, "lists an image without a Config, or with Layers that are no array");
    return listing_read(listing, config_name, "an image's config", &image->config_bytes, error) &&
           image_config_parse(listing->arena, image->config_bytes.bytes,
                              image->config_bytes.size_bytes, &image->config, error) &&
           read_layers(listing, layers, image, error);
}

/* Under each of its tags. */
static bool add_names(struct listing *listing, const json_t *object,
                      const struct archive_image *image, struct error *error)
{
    const json_t *tags = json_document_member(object, "RepoTags");
    const size_t count = json_array_size(tags);
    if (count == 0)
        return listing_refuse_nameless("an image", error);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(tags, i));
        struct reference reference;
        if (!name)
            return refuse(error, "has a tag that is no text");
        if (!listing_parse_name(name, &reference, error) ||
            !listing_add(listing, image, &reference, NULL, error))
            return false;
    }
    return true;
}

static bool add_entry(struct listing *listing, const json_t *object, bool is_first,
                      struct error *error)
{
    struct archive_image image = {0};
    const struct reference *given = is_first ? listing->choice->reference : NULL;
    return read_image(listing, object, &image, error) &&
           (given ? listing_add(listing, &image, given, NULL, error)
                  : add_names(listing, object, &image, error));
}

bool docker_archive_list(struct listing *listing, struct error *error)
{
    struct archive_document document;
    if (!listing_read(listing, "manifest.json", "its table of contents", &document, error))
        return false;
    cleanup_json json_t *entries =
        json_document_load_array(document.bytes, document.size_bytes, "the archive's manifest.json",
                                 ERROR_INVALID_ARGUMENT, error);
    if (!entries)
        return false;
    for (size_t i = 0; i < json_array_size(entries); i++)
        if (!add_entry(listing, json_array_get(entries, i), i == 0, error))
            return error_context(error, "image %zu of the archive", i + 1);
    return true;
}
