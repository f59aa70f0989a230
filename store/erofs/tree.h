/* A directory tree in memory: what the layer writer collects from a tar, what the
 * composer merges from layers, and what the image encoder writes.
 *
 * Memory is in the tree's arena and grows with the number of entries. One thread.
 */
#ifndef LARDER_STORE_EROFS_TREE_H
#define LARDER_STORE_EROFS_TREE_H

#include "store/arena.h"
#include "store/erofs/xattr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_entry;

/* A run of a file's blocks; what lies between runs is zeros. */
struct erofs_extent {
    uint64_t file_block;  /* where in the file */
    uint32_t start_block; /* where on the device */
    uint32_t block_count;
};

struct erofs_file {
    uint32_t extent_count;
    uint8_t chunk_bits; /* log2 of the blocks that runs are multiples of, when there are holes */
    uint16_t device;    /* 0: this file; n: layer n - 1 */
    union {
        struct erofs_extent extent; /* when there is at most one */
        struct erofs_extent *extents;
    };
};

struct erofs_directory {
    struct erofs_inode *parent;   /* the root's is itself */
    struct erofs_entry *children; /* newest first; dead ones among them */
    struct erofs_entry **sorted;  /* the encoder's: live ones by name */
    uint32_t sorted_count;
};

struct erofs_inode {
    uint16_t mode;   /* with the file type */
    bool implied;    /* a directory that its layer's tar did not list */
    bool opaque;     /* a directory that hides what lies below */
    bool lower_link; /* stands for a lower layer's file; its path is `target` */
    uint32_t uid;
    uint32_t gid;
    uint32_t device_number; /* as EROFS encodes it */
    uint32_t mtime_nsec;
    int64_t mtime;
    uint64_t size;                  /* of a file or symlink; of a directory while it is encoded */
    struct erofs_xattr_set *xattrs; /* NULL: none */
    union {
        struct erofs_file file;
        struct erofs_directory directory;
        const char *target; /* of a symlink, `size` bytes */
    };

    /* Owned by the image encoder. */
    uint32_t link_count;
    uint32_t block; /* of directory or symlink content outside the inode; 0: inline */
    uint64_t nid;   /* 0: not placed */
    struct erofs_inode *next;
};

struct erofs_entry {
    struct erofs_inode *directory; /* where it is */
    struct erofs_inode *inode;     /* NULL: nothing (any more) */
    struct erofs_entry *sibling;
    const char *name; /* not NUL-terminated */
    uint8_t name_size;
    bool hides_lower; /* lower layers' entry of this name is gone */
    bool hidden;      /* never written, but hard links may lead to it */

    /* Owned by the composer. */
    uint32_t changed_by;        /* the layer that last set `inode`; 0: none yet */
    struct erofs_inode *before; /* what was there before that layer */
};

/* The hash stands beside the pointer, so that a probe rarely leaves the table. */
struct erofs_slot {
    struct erofs_entry *entry;
    uint32_t hash;
};

struct erofs_tree {
    struct arena arena;
    struct erofs_xattr_pool xattrs;
    struct erofs_inode *root;
    uint64_t inode_count; /* that were made */

    struct erofs_slot *slots; /* owned; open addressing by directory and name */
    size_t slot_count;
    size_t used;
};

/* A tree with an implied root, 0755 root:root. Release with erofs_tree_close(). */
void erofs_tree_open(struct erofs_tree *tree);
void erofs_tree_close(struct erofs_tree *tree);

/* An inode that nothing names yet. */
[[nodiscard]] struct erofs_inode *erofs_inode_new(struct erofs_tree *tree, uint16_t mode)
    __attribute__((returns_nonnull));

/* The entry of that name, dead or alive, or NULL. */
[[nodiscard]] struct erofs_entry *erofs_tree_find(const struct erofs_tree *tree,
                                                  const struct erofs_inode *directory,
                                                  const char *name, size_t name_size);

/* The same, made when there is none. name_size is at most EROFS_NAME_MAX. */
[[nodiscard]] struct erofs_entry *erofs_tree_entry(struct erofs_tree *tree,
                                                   struct erofs_inode *directory, const char *name,
                                                   size_t name_size)
    __attribute__((returns_nonnull));

/* Puts the inode at the entry, in the place of what was there. */
void erofs_entry_set(struct erofs_entry *entry, struct erofs_inode *inode);

[[nodiscard]] static inline bool erofs_inode_is_directory(const struct erofs_inode *inode)
{
    return (inode->mode & 0170000) == 0040000;
}

[[nodiscard]] static inline bool erofs_inode_is_file(const struct erofs_inode *inode)
{
    return (inode->mode & 0170000) == 0100000;
}

[[nodiscard]] static inline bool erofs_inode_is_symlink(const struct erofs_inode *inode)
{
    return (inode->mode & 0170000) == 0120000;
}

/* The file's runs, `extent_count` of them. */
[[nodiscard]] static inline const struct erofs_extent *
erofs_file_extents(const struct erofs_file *file)
{
    return file->extent_count > 1 ? file->extents : &file->extent;
}

#endif
