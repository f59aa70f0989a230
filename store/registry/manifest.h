/* Indexes and manifests: which manifest is for a platform, and which config and
 * layers an image has (OCI image spec, image-index.md and manifest.md; Docker
 * manifest list and image manifest v2 schema 2).
 *
 * The documents are hostile input. They are bounded, and one that could be read
 * both as an index and as a manifest is refused (GHSA-5j5w-g665-5m35). Digests are
 * parsed before anything else sees them. Results live in the caller's arena.
 * Knows nothing of sockets. Any thread.
 */
#ifndef LARDER_STORE_REGISTRY_MANIFEST_H
#define LARDER_STORE_REGISTRY_MANIFEST_H

#include "store/arena.h"
#include "store/convert.h"
#include "store/digest.h"
#include "store/error.h"
#include "store/platform.h"
#include "store/registry/media_type.h"

#include <stddef.h>
#include <stdint.h>

struct json_t; /* jansson's */

enum {
    MANIFEST_MAX_LAYERS = 1024,  /* of any image; --max-image-layers is the caller's */
    MANIFEST_MAX_ENTRIES = 1024, /* of an index */
};

/* A reference to content by digest (OCI image spec, descriptor.md). */
struct descriptor {
    const char *media_type; /* in the arena; normalised */
    struct digest digest;
    uint64_t size_bytes; /* at most INT64_MAX */
};

struct manifest_layer {
    struct descriptor blob;
    enum layer_compression compression;
};

/* A manifest for one platform, as an index lists it. */
struct index_entry {
    struct descriptor manifest;
    bool platform_is_known; /* indexes may leave it out; then only the config tells */
    struct platform platform;
};

struct manifest_document {
    enum media_kind kind; /* MEDIA_INDEX or MEDIA_MANIFEST */
    const char *media_type;
    /* of an index: image manifests only; attestations and artifacts are left out */
    struct index_entry *entries;
    size_t entry_count;
    /* of a manifest */
    struct descriptor config;
    struct manifest_layer *layers; /* bottom to top, at least one */
    size_t layer_count;
};

/* `content_type` is the registry's header or the type in the descriptor that led
 * here; "" when there is none. Fails with ERROR_UNSUPPORTED_MANIFEST. */
[[nodiscard]] bool manifest_parse(struct arena *arena, const void *bytes, size_t size,
                                  const char *content_type, struct manifest_document *document,
                                  struct error *error);

/* One entry of an index, of whatever type: for who walks an index of his own. *is_image is
 * false when its platform says that it is none. Fails with ERROR_UNSUPPORTED_MANIFEST. */
[[nodiscard]] bool manifest_read_entry(struct arena *arena, const struct json_t *object,
                                       struct index_entry *entry, bool *is_image,
                                       struct error *error);

/* The entry of an index that suits the platform best; the first of equals. One
 * manifest without a platform is taken when there is nothing else: check its config.
 * Fails with ERROR_PLATFORM_NOT_FOUND, which lists what there is. */
[[nodiscard]] bool manifest_choose(const struct manifest_document *index,
                                   const struct platform *wanted, const struct index_entry **chosen,
                                   struct error *error);

#endif
