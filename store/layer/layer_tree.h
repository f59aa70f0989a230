/* The OCI layer rules (image spec, layer.md): what each member of a tar does to
 * the tree of its layer. Knows nothing of tar or EROFS files.
 *
 * The tree ends in overlayfs's convention, with marks of ours for what overlayfs
 * cannot say (store/erofs/xattr.h). Each error names the member. */
#ifndef LARDER_STORE_LAYER_LAYER_TREE_H
#define LARDER_STORE_LAYER_LAYER_TREE_H

#include "store/erofs/tree.h"
#include "store/error.h"
#include "store/layer.h"
#include "store/layer/layer_path.h"
#include "store/layer/layer_tar.h"

#include <stdbool.h>
#include <stddef.h>

struct layer_tree {
    struct erofs_tree tree;
    const struct layer_limits *limits;
    const char *member;         /* the name in hand, for errors */
    uint64_t members;           /* so far */
    struct layer_path path;     /* the same, cleaned */
    struct layer_path resolved; /* where a walk has come to, symlinks followed */
    uint32_t links_followed;    /* by this member */

    /* Members of one directory mostly come together: where the last walk led. */
    struct layer_path last_parent;
    struct erofs_inode *last_directory; /* NULL: walk again */
};

void layer_tree_open(struct layer_tree *layer, const struct layer_limits *limits);
void layer_tree_close(struct layer_tree *layer);

/* Applies the member with its attributes. *file becomes the inode that takes the
 * member's data, or NULL. */
[[nodiscard]] bool layer_tree_add(struct layer_tree *layer, const struct tar_member *member,
                                  struct erofs_xattr_set *xattrs, struct erofs_inode **file,
                                  struct error *error);

/* After the last member: turns what was learnt into whiteouts and marks. */
void layer_tree_finish(struct layer_tree *layer);

#endif
