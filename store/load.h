/* Images that are sent to us: an archive of `docker save`, `podman save` or skopeo, or an
 * OCI image layout as a tar; plain, gzip or zstd.
 *
 *     body ─► unpacked under tmp/ ─► images ─► layers ─► compose, commit, one by one
 *
 * Each image that the archive holds, under each of its names, is a pull of policy `load`:
 * its layers are built under the same locks and held against every prune, it can be
 * watched and cancelled, and it is composed and committed like any other. No image is
 * committed before the layers of all are there. Nobody takes over a load whose node died:
 * its pulls fail, and the body has to be sent again.
 */
#ifndef LARDER_STORE_LOAD_H
#define LARDER_STORE_LOAD_H

#include "store/catalogue/images.h"
#include "store/layer.h"
#include "store/puller.h"

struct load_request {
    const struct reference *reference; /* names the first image; NULL: the archive's names */
    const struct platform *platform;   /* only the image that suits it best; NULL: all */
};

struct load_result {
    struct image_handle *images; /* in the archive's order; in the arena */
    size_t count;
};

/* Reads the body and loads it, on the caller's thread. Fails with ERROR_INVALID_ARGUMENT
 * (no archive of images, a part missing or damaged, an image without a name), with
 * ERROR_INVALID_REFERENCE, ERROR_PLATFORM_NOT_FOUND, ERROR_PAYLOAD_TOO_LARGE, the codes of
 * a pull, or the body's own. What it built is then gone, but for images that were committed
 * before another failed, which the message tells. */
[[nodiscard]] bool load_archive(struct puller *puller, const struct load_request *request,
                                const struct tar_source *body, struct arena *arena,
                                struct load_result *result, struct error *error);

#endif
