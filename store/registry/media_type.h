/* The media types of images (OCI image spec, media-types.md; Docker image manifest
 * v2 schema 2), and what each means to us. Any thread.
 */
#ifndef LARDER_STORE_REGISTRY_MEDIA_TYPE_H
#define LARDER_STORE_REGISTRY_MEDIA_TYPE_H

#include "store/convert.h"
#include "store/error.h"

#include <stdbool.h>

enum {
    MEDIA_TYPE_SIZE = 128, /* with NUL; the longest of ours has 75 characters */
};

enum media_kind {
    MEDIA_UNKNOWN, /* none of ours: an artifact's, or a bare application/json */
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    MEDIA_SCHEMA1, /* Docker's first format, signed or not */
    MEDIA_CONFIG,
    MEDIA_LAYER,
    MEDIA_FOREIGN_LAYER, /* not to be had from the registry */
};

/* The manifests and indexes that we ask a registry for, as an Accept header's value. */
extern const char media_type_accept[];

/* A Content-Type without parameters and in lower case; "" when it does not fit. */
void media_type_normalise(const char *content_type, char out[MEDIA_TYPE_SIZE]);

/* Of a normalised media type. */
[[nodiscard]] enum media_kind media_type_kind(const char *media_type);

/* How a layer of that type is compressed. Fails with ERROR_UNSUPPORTED_MANIFEST, which
 * says why such a layer cannot be used. */
[[nodiscard]] bool media_type_compression(const char *media_type,
                                          enum layer_compression *compression, struct error *error);

#endif
