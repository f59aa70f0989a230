/* Between layer_tree.c and layer_walk.c: finding the place of a member. From
 * directory to directory, through symlinks of this layer as the appliers of
 * containerd and umoci do, never out of the root. */
#ifndef LARDER_STORE_LAYER_LAYER_WALK_H
#define LARDER_STORE_LAYER_LAYER_WALK_H

#include "store/layer/layer_tree.h"

#define layer_refuse(layer, error, ...)                                                            \
    tar_refuse(error, ERROR_UNSUPPORTED_LAYER, (layer)->member, __VA_ARGS__)

struct layer_walk {
    struct layer_tree *layer;
    struct erofs_inode *directory; /* the last one on the way that this layer has */
    uint32_t missing;              /* components below it, which only a lower layer can have */
    bool make_missing;             /* as implied directories */
};

/* Makes layer->path the cleaned form of `name`, within the limits. */
[[nodiscard]] bool layer_clean_name(struct layer_tree *layer, const char *name,
                                    struct error *error);

/* Walks layer->path but its last component, which it cuts off; that stays behind
 * the cut, as *name. */
[[nodiscard]] bool layer_walk_to_parent(struct layer_walk *walk, char **name, size_t *name_size,
                                        struct error *error);

/* Puts the inode at the entry, in the place of what was there. */
void layer_set_entry(struct layer_tree *layer, struct erofs_entry *entry,
                     struct erofs_inode *inode);

/* Fails when the latest member, or what it implied, was one entry too many: of all
 * that takes memory, however it is spelt. */
[[nodiscard]] bool layer_check_count(const struct layer_tree *layer, struct error *error);

[[nodiscard]] bool layer_name_is(const char *name, size_t name_size, const char *wanted);

/* ".wh.NAME" */
[[nodiscard]] bool layer_name_is_whiteout(const char *name, size_t name_size);

/* ".wh..wh.NAME": aufs's own files, and the opaque marker. */
[[nodiscard]] bool layer_name_is_reserved(const char *name, size_t name_size);

#endif
