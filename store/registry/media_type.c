#include "store/registry/media_type.h"

#include "store/excerpt.h"

#include <string.h>

const char media_type_accept[] = "application/vnd.oci.image.index.v1+json, "
                                 "application/vnd.oci.image.manifest.v1+json, "
                                 "application/vnd.docker.distribution.manifest.list.v2+json, "
                                 "application/vnd.docker.distribution.manifest.v2+json";

struct media_row {
    const char *name;
    enum media_kind kind;
    enum layer_compression compression; /* of a layer */
};

static const struct media_row rows[] = {
    {"application/vnd.oci.image.index.v1+json", MEDIA_INDEX, LAYER_PLAIN},
    {"application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX, LAYER_PLAIN},
    {"application/vnd.oci.image.manifest.v1+json", MEDIA_MANIFEST, LAYER_PLAIN},
    {"application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST, LAYER_PLAIN},
    {"application/vnd.docker.distribution.manifest.v1+json", MEDIA_SCHEMA1, LAYER_PLAIN},
    {"application/vnd.docker.distribution.manifest.v1+prettyjws", MEDIA_SCHEMA1, LAYER_PLAIN},
    {"application/vnd.oci.image.config.v1+json", MEDIA_CONFIG, LAYER_PLAIN},
    {"application/vnd.docker.container.image.v1+json", MEDIA_CONFIG, LAYER_PLAIN},
    {"application/vnd.oci.image.layer.v1.tar", MEDIA_LAYER, LAYER_PLAIN},
    {"application/vnd.oci.image.layer.v1.tar+gzip", MEDIA_LAYER, LAYER_GZIP},
    {"application/vnd.oci.image.layer.v1.tar+zstd", MEDIA_LAYER, LAYER_ZSTD},
    {"application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER, LAYER_PLAIN},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER, LAYER_GZIP},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER, LAYER_ZSTD},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_FOREIGN_LAYER, LAYER_PLAIN},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_FOREIGN_LAYER,
     LAYER_GZIP},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_FOREIGN_LAYER,
     LAYER_ZSTD},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_FOREIGN_LAYER, LAYER_PLAIN},
    {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_FOREIGN_LAYER, LAYER_GZIP},
};

static const struct media_row *find_row(const char *media_type)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, media_type) == 0)
            return &rows[i];
    return NULL;
}

void media_type_normalise(const char *content_type, char out[MEDIA_TYPE_SIZE])
{
    out[0] = '\0';
    content_type += strspn(content_type, " \t");
    size_t length = strcspn(content_type, "; \t\r\n");
    if (length >= MEDIA_TYPE_SIZE)
        return;
    for (size_t i = 0; i < length; i++) {
        char c = content_type[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    out[length] = '\0';
}

enum media_kind media_type_kind(const char *media_type)
{
    const struct media_row *row = find_row(media_type);
    return row ? row->kind : MEDIA_UNKNOWN;
}

bool media_type_compression(const char *media_type, enum layer_compression *compression,
                            struct error *error)
{
    const struct media_row *row = find_row(media_type);
    if (row && row->kind == MEDIA_LAYER) {
        *compression = row->compression;
        return true;
    }
    if (row && row->kind == MEDIA_FOREIGN_LAYER)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                         "a layer of type \"%s\" is not distributed by registries", row->name);
    return error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                     "\"%s\" is not the media type of a filesystem layer (tar, plain or compressed "
                     "with gzip or zstd)",
                     excerpt_of(media_type).text);
}
