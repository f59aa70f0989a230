/* What images of one manifest have in common, from memory (read_cache.h) where that is known
 * to be right, else from the catalogue: what makes an ImageDetail of a handle. May block: on
 * a worker only. */
#ifndef LARDER_SERVER_DETAIL_CACHE_H
#define LARDER_SERVER_DETAIL_CACHE_H

#include "server/json_writer.h"
#include "server/node.h"
#include "store/catalogue/images.h"

/* Writes the ImageDetail; null when the manifest went meanwhile, taken by force, or when there is
 * not so much room. */
[[nodiscard]] bool detail_cache_write(struct node *node, struct json_writer *out, size_t room_bytes,
                                      const struct image_handle *handle, struct error *error);

#endif
