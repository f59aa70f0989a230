/* Which images an archive holds, under which names, and where their layers lie: an OCI
 * image layout (image-layout.md) where there is an index.json, else what `docker save`
 * describes in its manifest.json. Everything here is hostile input; nothing here knows of
 * the catalogue or of sockets. One thread.
 *
 * Names are those of the archive: io.containerd.image.name, else
 * org.opencontainers.image.ref.name where that is more than a tag, or RepoTags. All
 * platforms of an index are images of their own, but those whose manifest the archive
 * does not have: `docker save` keeps the index of an image whole and a platform of it.
 */
#ifndef LARDER_STORE_LOAD_ARCHIVE_IMAGES_H
#define LARDER_STORE_LOAD_ARCHIVE_IMAGES_H

#include "store/load/archive.h"
#include "store/platform.h"
#include "store/reference.h"
#include "store/registry/image_config.h"
#include "store/registry/manifest.h"

enum {
#ifdef LARDER_FUZZ /* which the documents of a fuzzer reach */
    ARCHIVE_MAX_IMAGES = 16
#else
    ARCHIVE_MAX_IMAGES = 512
#endif
};

struct archive_image {
    struct reference reference;
    bool is_from_index;
    struct digest index_digest;
    struct archive_document manifest_bytes;
    struct manifest_document manifest;
    struct archive_document config_bytes;
    struct image_config config;
    struct platform platform;             /* the image's own */
    const struct archive_member **layers; /* of the manifest's, in its order */
};

struct archive_images {
    struct archive_image *images; /* in the archive's order */
    size_t count;
};

struct archive_choice {
    const struct reference *reference; /* for the first image; NULL: the archive's names */
    const struct platform *platform;   /* only what suits it best; NULL: all */
    unsigned max_layers;               /* of one image */
};

/* Everything lives in the arena or in the archive. Fails with ERROR_INVALID_ARGUMENT (a
 * part is missing or damaged, an image has no name), ERROR_INVALID_REFERENCE,
 * ERROR_UNSUPPORTED_MANIFEST or ERROR_PLATFORM_NOT_FOUND. */
[[nodiscard]] bool archive_list_images(struct archive *archive, const struct archive_choice *choice,
                                       struct arena *arena, struct archive_images *images,
                                       struct error *error);

#endif
