/* Where each inode of a tree goes: the first half of writing an image. Positions
 * are relative, so they need not know how much file data comes before. */
#ifndef LARDER_STORE_EROFS_LAYOUT_H
#define LARDER_STORE_EROFS_LAYOUT_H

#include "store/erofs/tree.h"

#include <stdbool.h>
#include <stdint.h>

struct erofs_layout {
    struct erofs_inode *first; /* breadth-first, each inode once */
    struct erofs_inode *last;
    uint64_t inode_count;
    uint64_t inode_bytes;  /* of the inode area */
    uint64_t block_count;  /* of contents outside inodes; inode->block is 1 + its first */
    uint64_t shared_bytes; /* of the shared attribute area */
    struct erofs_xattr *first_shared;
    struct erofs_xattr *last_shared;
    bool has_chunks;
};

/* Stand for "." and ".." in every directory's sorted entries. */
extern struct erofs_entry erofs_entry_self;
extern struct erofs_entry erofs_entry_parent;

/* Lists the tree's live inodes, counts links, sorts directories, and gives every
 * inode its nid. */
void erofs_layout_make(struct erofs_layout *layout, struct erofs_tree *tree);

/* Bytes of an inode's attribute area. */
[[nodiscard]] uint32_t erofs_layout_xattr_bytes(const struct erofs_xattr_set *set);

/* True for a file that is one run in this very file, or empty. */
[[nodiscard]] bool erofs_layout_is_plain(const struct erofs_inode *inode);

/* log2 of the blocks that each of a file's chunks has. */
[[nodiscard]] unsigned erofs_layout_chunk_bits(const struct erofs_inode *inode);
[[nodiscard]] uint64_t erofs_layout_chunk_count(const struct erofs_inode *inode);

/* How many entries from `first` on fit into one directory block; *bytes is what
 * they take. */
[[nodiscard]] uint32_t erofs_layout_fill_block(const struct erofs_directory *directory,
                                               uint32_t first, uint32_t *bytes);

#endif
