/* A description in manifests/, read back: what it says of an image, checked as far as it can be by
 * itself. (How it is written: pull/pull_description.c.)
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

/* Reads it from where the descriptor stands. Fails when it is no such description, or when a
 * document is not what its digest says. */
[[nodiscard]] bool description_read(int fd, struct description *description, struct error *error);
void description_free(struct description *description);
#define cleanup_description cleanup(description_free)

#endif
