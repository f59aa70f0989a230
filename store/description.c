#include "store/description.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static char *read_all(int fd, size_t *size_bytes, struct error *error)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0) {
        (void)error_set_errno(error, ERROR_INTERNAL, errno, "it cannot be looked at");
        return NULL;
    }
    if (stat.st_size > DESCRIPTION_MAX_BYTES) {
        (void)error_set(error, ERROR_INTERNAL, "it is too large for a description");
        return NULL;
    }
    size_t capacity = (size_t)stat.st_size + 1;
    char *bytes = malloc(capacity);
    if (!bytes)
        abort();
    *size_bytes = 0;
    for (ssize_t count; (count = read(fd, bytes + *size_bytes, capacity - *size_bytes)) != 0;) {
        if (count < 0 && errno == EINTR)
            continue;
        bool grows = count > 0 && (*size_bytes += (size_t)count) == capacity;
        if (count > 0 && !grows)
            continue;
        (void)(grows ? error_set(error, ERROR_INTERNAL, "it grows")
                     : error_set_errno(error, ERROR_INTERNAL, errno, "it cannot be read"));
        free(bytes);
        return NULL;
    }
    return bytes;
}

/* The document of that name, and the digest that it must have. */
static bool take_document(const json_t *root, const char *digest_name, const char *name,
                          const char **digest, const char **document, size_t *size_bytes,
                          struct error *error)
{
    const json_t *text = json_object_get(root, name);
    *digest = json_string_value(json_object_get(root, digest_name));
    *document = json_string_value(text);
    *size_bytes = json_string_length(text);
    struct digest wanted;
    if (!*digest || !*document || !digest_parse(*digest, &wanted))
        return error_set(error, ERROR_INTERNAL, "it has no %s, or no %s", digest_name, name);
    struct digest found = digest_of(*document, *size_bytes);
    return digest_equal(&found, &wanted) ||
           error_set(error, ERROR_INTERNAL, "its %s is not what its %s says", name, digest_name);
}

/* All of it, or none. */
static void take_rows(struct description *description)
{
    const json_t *rows = json_object_get(description->root, "larder");
    const char *reference = json_string_value(json_object_get(rows, "reference"));
    const char *platform = json_string_value(json_object_get(rows, "platform"));
    const char *media_type = json_string_value(json_object_get(rows, "manifest_media_type"));
    const json_t *layers = json_object_get(rows, "layers");
    if (!reference || !platform || !media_type || !json_is_array(layers))
        return;
    description->reference = reference;
    description->platform = platform;
    description->manifest_media_type = media_type;
    description->index_digest = json_string_value(json_object_get(rows, "index_digest"));
    description->layers = layers;
}

bool description_layer(const struct description *description, size_t index,
                       struct description_layer *layer)
{
    const json_t *row = json_array_get(description->layers, index);
    const char *diff_id = json_string_value(json_object_get(row, "diff_id"));
    const char *erofs_digest = json_string_value(json_object_get(row, "erofs_digest"));
    layer->erofs_size_bytes = json_integer_value(json_object_get(row, "erofs_size_bytes"));
    layer->tar_size_bytes = json_integer_value(json_object_get(row, "tar_size_bytes"));
    return diff_id && erofs_digest && digest_parse(diff_id, &layer->diff_id) &&
           digest_parse(erofs_digest, &layer->erofs_digest) && layer->erofs_size_bytes > 0 &&
           layer->erofs_size_bytes % 4096 == 0 && layer->tar_size_bytes >= 0;
}

bool description_read(int fd, struct description *description, struct error *error)
{
    *description = (struct description){0};
    size_t size_bytes = 0;
    cleanup_free char *bytes = read_all(fd, &size_bytes, error);
    if (!bytes)
        return false;
    description->size_bytes = size_bytes;
    description->root = json_loadb(bytes, size_bytes, JSON_ALLOW_NUL, NULL);
    if (!description->root)
        return error_set(error, ERROR_INTERNAL, "it is no JSON");
    take_rows(description);
    return take_document(description->root, "manifest_digest", "raw_manifest_json",
                         &description->manifest_digest, &description->manifest,
                         &description->manifest_size_bytes, error) &&
           take_document(description->root, "config_digest", "raw_config_json",
                         &description->config_digest, &description->config,
                         &description->config_size_bytes, error);
}

void description_free(struct description *description)
{
    json_decref(description->root);
    *description = (struct description){0};
}
