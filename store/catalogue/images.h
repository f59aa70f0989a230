/* Images as the catalogue knows them: reading. (How they come and go: pulls.h,
 * removal.h.) Strings live in the caller's arena; times are milliseconds since
 * the epoch by PostgreSQL's clock. Thread-safe.
 */
#ifndef LARDER_STORE_CATALOGUE_IMAGES_H
#define LARDER_STORE_CATALOGUE_IMAGES_H

#include "store/catalogue/catalogue.h"
#include "store/platform.h"
#include "store/reference.h"

/* The interface's ImageHandle. */
struct image_handle {
    const char *reference; /* canonical */
    const char *manifest_digest;
    const char *architecture; /* the image's own, from its config */
    const char *os;
    const char *variant; /* "" for none; not part of the shape */
    int64_t layer_count;
    int64_t size_bytes; /* the sum of its compressed layers */
    int64_t created_at_ms;
    int64_t last_used_at_ms;
};

/* The interface's ImageLayerDetail. */
struct image_layer {
    const char *diff_id;
    const char *blob_digest;
    const char *media_type;
    int64_t compressed_size_bytes;
    int64_t erofs_size_bytes;
    int64_t position;
};

/* What ImageDetail is made of. */
struct image_detail {
    struct image_handle handle;
    const char *config_json;    /* ImageConfigDetail, as JSON text */
    struct image_layer *layers; /* bottom to top */
    size_t layer_count;
    int64_t fsmeta_size_bytes;
    int64_t vmdk_size_bytes;
};

/* NULL and IN_USE_ANY select everything. */
enum image_use { IN_USE_ANY, IN_USE_YES, IN_USE_NO };
struct image_filter {
    const char *reference;      /* canonical, exact */
    const char *reference_glob; /* `*` matches anything, also `/` */
    const char *manifest_digest;
    const char *architecture;
    const char *os;
    enum image_use in_use; /* by a live sandbox or a snapshot */
};

struct image_page {
    struct image_handle *images; /* newest first, then by reference and platform */
    size_t count;
    const char *next_page_token; /* opaque; NULL on the last page */
};

/* A page of at most `limit` images after `page_token` (NULL: from the start).
 * A token that is not ours fails with ERROR_INVALID_ARGUMENT. */
[[nodiscard]] bool catalogue_list_images(struct catalogue *catalogue,
                                         const struct image_filter *filter, size_t limit,
                                         const char *page_token, struct arena *arena,
                                         struct image_page *page, struct error *error);

/* Which platform of a reference is meant. */
struct platform_choice {
    const struct platform *wanted;    /* NULL: the default, else the only one there is */
    const struct platform *preferred; /* the node's default; never NULL */
};

/* Finds by canonical reference; a reference with a digest finds the image by its
 * manifest's digest or by that of the index it was resolved from. Fails with
 * ERROR_IMAGE_NOT_FOUND, or with ERROR_PLATFORM_NOT_FOUND naming what there is
 * when it is here for other platforms only. */
[[nodiscard]] bool catalogue_find_image(struct catalogue *catalogue,
                                        const struct reference *reference,
                                        const struct platform_choice *choice, struct arena *arena,
                                        struct image_handle *handle, struct error *error);

/* As catalogue_find_image, the whole of it in one round trip. */
[[nodiscard]] bool catalogue_inspect_image(struct catalogue *catalogue,
                                           const struct reference *reference,
                                           const struct platform_choice *choice,
                                           struct arena *arena, struct image_detail *detail,
                                           struct error *error);

/* What the manifest's images have in common: all but the handle, of which only the digest is
 * filled. ERROR_IMAGE_NOT_FOUND. */
[[nodiscard]] bool catalogue_find_details(struct catalogue *catalogue, const char *manifest_digest,
                                          struct arena *arena, struct image_detail *detail,
                                          struct error *error);

#endif
