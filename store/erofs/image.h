/* From a tree to the metadata of an EROFS file: shared attributes, inodes in
 * breadth-first order with their attributes and small contents, blocks of larger
 * directories, and at last the superblock with its checksum.
 *
 *     | superblock, device table | file data (layers only) | attributes | inodes | directories |
 */
#ifndef LARDER_STORE_EROFS_IMAGE_H
#define LARDER_STORE_EROFS_IMAGE_H

#include "store/digest.h"
#include "store/erofs/output.h"
#include "store/erofs/tree.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_device {
    struct digest diff_id;
    uint32_t blocks;
};

struct erofs_image {
    const struct digest *identity; /* the UUID comes from it */
    const struct erofs_device *devices;
    size_t device_count;
};

/* Bytes at the file's start that the image's head takes: skip them first. */
[[nodiscard]] uint64_t erofs_image_head_size(size_t device_count);

/* Writes the tree's metadata at the output's offset, finishes the output, and
 * writes the head. *inode_count becomes the number of inodes written. Consumes the
 * tree: it can only be closed after it. Fails before any metadata is written with
 * ERROR_UNSUPPORTED_LAYER when that would be over 768 MiB, and with
 * ERROR_LAYER_TOO_LARGE when the file would exceed the output's limit or 16 TiB. */
[[nodiscard]] bool erofs_image_write(struct erofs_tree *tree, const struct erofs_image *image,
                                     struct erofs_output *output, uint64_t *inode_count,
                                     struct error *error);

#endif
