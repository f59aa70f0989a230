/* A description in manifests/: what it says of an image, and how that is written and read back. No
 * SQL here (described.h).
 */
#ifndef LARDER_STORE_DESCRIPTION_H
#define LARDER_STORE_DESCRIPTION_H

#include "store/cleanup.h"
#include "store/digest.h"
#include "store/error.h"

#include <jansson.h>
#include <stddef.h>

enum { DESCRIPTION_MAX_BYTES = 64 << 20 };

struct description {
    json_t *root; /* owned; all strings are in it */
    size_t size_bytes;
    const char *manifest_digest;
    const char *manifest; /* the document, whose digest that is; with its NUL */
    size_t manifest_size_bytes;
    const char *config_digest;
    const char *config;
    size_t config_size_bytes;
    /* What only Larder writes; NULL in microsandbox's own descriptions. */
    const char *reference; /* canonical */
    const char *platform;
    const char *manifest_media_type;
    const char *index_digest; /* NULL: it was resolved from none */
    const json_t *layers;     /* of what description_layer() reads */
};

/* One of the distinct layers; false when it says nothing sensible. */
struct description_layer {
    struct digest diff_id;
    struct digest erofs_digest;
    int64_t erofs_size_bytes;
    int64_t tar_size_bytes;
};
[[nodiscard]] bool description_layer(const struct description *description, size_t index,
                                     struct description_layer *layer);

/* What is written down of an image. */
struct described_layer {
    const char *blob_digest;
    const char *media_type;
    int64_t size_bytes; /* of the blob */
    const char *diff_id;
};
struct described_image {
    const char *reference; /* canonical */
    const char *platform;
    const char *index_digest; /* NULL: it was resolved from none */
    const char *manifest_digest;
    const char *manifest_media_type;
    const char *manifest; /* the document, which is JSON */
    size_t manifest_size_bytes;
    const char *config_digest;
    const char *config; /* likewise */
    size_t config_size_bytes;
    const struct described_layer *layers; /* bottom to top */
    size_t layer_count;
    const struct description_layer *files; /* of the distinct layers */
    size_t file_count;
};
/* Writes it behind where the descriptor stands. */
[[nodiscard]] bool description_write(const struct described_image *image, int fd,
                                     struct error *error);

/* Reads it from where the descriptor stands. Fails when it is no such description, or when a
 * document is not what its digest says. */
[[nodiscard]] bool description_read(int fd, struct description *description, struct error *error);
void description_free(struct description *description);
#define cleanup_description cleanup(description_free)

#endif
