/* A description in manifests/, read back: what it says of an image, checked as far as it can be by
 * itself. (How it is written: pull/pull_description.c.)
 */
#ifndef LARDER_STORE_DESCRIPTION_H
#define LARDER_STORE_DESCRIPTION_H

#include "store/cleanup.h"
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
};

/* Reads it from where the descriptor stands. Fails when it is no such description, or when a
 * document is not what its digest says. */
[[nodiscard]] bool description_read(int fd, struct description *description, struct error *error);
void description_free(struct description *description);
#define cleanup_description cleanup(description_free)

#endif
