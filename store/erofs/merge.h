/* One layer on top of a merged tree, as overlayfs would show it: whiteouts,
 * opaque directories and marks take effect and are gone. */
#ifndef LARDER_STORE_EROFS_MERGE_H
#define LARDER_STORE_EROFS_MERGE_H

#include "store/erofs/reader.h"
#include "store/erofs/tree.h"
#include "store/error.h"

#include <stdbool.h>
#include <stdint.h>

/* `number` is 1 for the lowest layer and so on: also its device. Fails with
 * ERROR_DIGEST_MISMATCH for a damaged layer, ERROR_UNSUPPORTED_LAYER for a hard
 * link to a file that no lower layer has, ERROR_LAYER_TOO_LARGE when the tree has come to take
 * more than max_tree_bytes; the tree is then garbage. */
[[nodiscard]] bool erofs_merge_layer(struct erofs_tree *tree, struct erofs_reader *layer,
                                     uint16_t number, uint64_t max_tree_bytes, struct error *error);

#endif
