#include "store/layer/layer_tree.h"

#include "store/layer/layer_walk.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char opaque_name[] = ".wh..wh..opq";

enum {
    MAX_MAJOR = 0xFFF,
    MAX_MINOR = 0xFFFFF,
};
#define MAX_OWNER INT64_C(0xFFFFFFFE) /* -1 is nobody's number */

void layer_tree_open(struct layer_tree *layer, const struct layer_limits *limits)
{
    *layer = (struct layer_tree){.limits = limits};
    erofs_tree_open(&layer->tree);
}

void layer_tree_close(struct layer_tree *layer)
{
    erofs_tree_close(&layer->tree);
    layer_path_free(&layer->path);
    layer_path_free(&layer->resolved);
    layer_path_free(&layer->last_parent);
}

/* Metadata. */

static bool set_device(struct layer_tree *layer, const struct tar_member *member,
                       struct erofs_inode *inode, struct error *error)
{
    if (member->major > MAX_MAJOR || member->minor > MAX_MINOR)
        return layer_refuse(layer, error,
                            "is device %" PRIu64 ":%" PRIu64 ", beyond Linux's 12 and 20 bits",
                            member->major, member->minor);
    inode->device_number = (uint32_t)((member->minor & 0xFF) | member->major << 8 |
                                      (member->minor & ~UINT64_C(0xFF)) << 12);
    return true;
}

static bool set_symlink(struct layer_tree *layer, const struct tar_member *member,
                        struct erofs_inode *inode, struct error *error)
{
    size_t length = strlen(member->link_target);
    if (length == 0 || length > EROFS_SYMLINK_MAX)
        return layer_refuse(layer, error, "is a symbolic link to %zu bytes, not 1 to %d", length,
                            EROFS_SYMLINK_MAX);
    inode->target = arena_strndup(&layer->tree.arena, member->link_target, length);
    inode->size = length;
    inode->mode = S_IFLNK | 0777; /* Linux has no other, whatever a tar says */
    return true;
}

static bool set_metadata(struct layer_tree *layer, const struct tar_member *member,
                         struct erofs_xattr_set *xattrs, struct erofs_inode *inode,
                         struct error *error)
{
    if (member->uid < 0 || member->uid > MAX_OWNER || member->gid < 0 || member->gid > MAX_OWNER)
        return layer_refuse(layer, error, "has owner %" PRId64 ":%" PRId64 ", beyond 0 to %" PRId64,
                            member->uid, member->gid, MAX_OWNER);
    if (!erofs_xattr_set_fits(xattrs))
        return layer_refuse(layer, error, "has more extended attributes than EROFS can hold");
    inode->mode = (uint16_t)((inode->mode & S_IFMT) | member->permissions);
    inode->uid = (uint32_t)member->uid;
    inode->gid = (uint32_t)member->gid;
    inode->mtime = member->mtime;
    inode->mtime_nsec = member->mtime_nsec;
    inode->xattrs = xattrs;
    inode->implied = false;
    return true;
}

/* Members. */

static bool add_whiteout(struct layer_tree *layer, struct erofs_inode *directory, const char *name,
                         size_t name_size, struct error *error)
{
    if (name_size == 0 || layer_name_is(name, name_size, ".") ||
        layer_name_is(name, name_size, ".."))
        return layer_refuse(layer, error, "is a whiteout of no name");
    erofs_tree_entry(&layer->tree, directory, name, name_size)->hides_lower = true;
    return true;
}

static bool add_directory(struct layer_tree *layer, const struct tar_member *member,
                          struct erofs_xattr_set *xattrs, struct erofs_entry *entry,
                          struct error *error)
{
    if (!entry->inode || !erofs_inode_is_directory(entry->inode))
        layer_set_entry(layer, entry, erofs_inode_new(&layer->tree, S_IFDIR));
    return set_metadata(layer, member, xattrs, entry->inode, error);
}

static uint16_t file_type(enum tar_type type)
{
    switch (type) {
    case TAR_DIRECTORY:
        return S_IFDIR;
    case TAR_SYMLINK:
        return S_IFLNK;
    case TAR_CHARACTER:
        return S_IFCHR;
    case TAR_BLOCK:
        return S_IFBLK;
    case TAR_FIFO:
        return S_IFIFO;
    case TAR_FILE:
    case TAR_HARD_LINK:
        break;
    }
    return S_IFREG;
}

static bool add_other(struct layer_tree *layer, const struct tar_member *member,
                      struct erofs_xattr_set *xattrs, struct erofs_entry *entry,
                      struct erofs_inode **file, struct error *error)
{
    struct erofs_inode *inode = erofs_inode_new(&layer->tree, file_type(member->type));
    if (!set_metadata(layer, member, xattrs, inode, error))
        return false;
    if (member->type == TAR_SYMLINK && !set_symlink(layer, member, inode, error))
        return false;
    if (member->type == TAR_CHARACTER || member->type == TAR_BLOCK)
        if (!set_device(layer, member, inode, error))
            return false;
    layer_set_entry(layer, entry, inode);
    entry->hides_lower = true;
    if (member->type == TAR_FILE)
        *file = inode;
    return true;
}

/* Hard links. */

/* What stands for a file that only a lower layer can have. */
static bool make_lower_link(struct layer_tree *layer, const char *name, size_t name_size,
                            struct erofs_inode **inode, struct error *error)
{
    layer_path_push(&layer->resolved, name, name_size);
    size_t length = layer->resolved.length;
    if (length > EROFS_MAX_XATTR_VALUE)
        return layer_refuse(layer, error, "is a hard link to a path of %zu bytes", length);
    *inode = erofs_inode_new(&layer->tree, S_IFREG);
    (*inode)->lower_link = true;
    (*inode)->xattrs =
        erofs_xattr_set_with(&layer->tree.xattrs, NULL,
                             erofs_xattr_intern(&layer->tree.xattrs, EROFS_XATTR_TRUSTED,
                                                EROFS_MARK_LINK, (uint8_t)strlen(EROFS_MARK_LINK),
                                                layer->resolved.text, (uint16_t)length));
    return true;
}

/* The file that a hard link names now: this layer's, or else a lower one's. */
static bool find_link_target(struct layer_tree *layer, const char *target,
                             struct erofs_inode **inode, struct error *error)
{
    if (!layer_clean_name(layer, target, error))
        return error_context(error, "hard link");
    if (layer->path.length == 0)
        return layer_refuse(layer, error, "is a hard link to the root directory");
    struct layer_walk walk = {.layer = layer};
    char *name;
    size_t name_size;
    if (!layer_walk_to_parent(&walk, &name, &name_size, error))
        return error_context(error, "hard link");
    const struct erofs_entry *found = NULL;
    if (walk.missing == 0)
        found = erofs_tree_find(&layer->tree, walk.directory, name, name_size);
    if (!found || !found->inode)
        return make_lower_link(layer, name, name_size, inode, error);
    if (erofs_inode_is_directory(found->inode))
        return layer_refuse(layer, error, "is a hard link to a directory");
    *inode = found->inode;
    return true;
}

static bool add_hard_link(struct layer_tree *layer, struct erofs_entry *entry,
                          const struct tar_member *member, struct error *error)
{
    struct erofs_inode *inode = NULL;
    if (!find_link_target(layer, member->link_target, &inode, error))
        return false;
    layer_set_entry(layer, entry, inode);
    entry->hides_lower = true;
    return true;
}

static bool add_named(struct layer_tree *layer, const struct tar_member *member,
                      struct erofs_xattr_set *xattrs, struct erofs_inode *directory,
                      const char *name, size_t name_size, struct erofs_inode **file,
                      struct error *error)
{
    struct erofs_entry *entry = erofs_tree_entry(&layer->tree, directory, name, name_size);
    entry->hidden = layer_name_is_reserved(name, name_size);
    if (member->type == TAR_HARD_LINK)
        return add_hard_link(layer, entry, member, error);
    if (member->type == TAR_DIRECTORY)
        return add_directory(layer, member, xattrs, entry, error);
    return add_other(layer, member, xattrs, entry, file, error);
}

static bool add_root(struct layer_tree *layer, const struct tar_member *member,
                     struct erofs_xattr_set *xattrs, struct error *error)
{
    if (member->type != TAR_DIRECTORY)
        return layer_refuse(layer, error, "would replace the root directory");
    return set_metadata(layer, member, xattrs, layer->tree.root, error);
}

static bool add_member(struct layer_tree *layer, const struct tar_member *member,
                       struct erofs_xattr_set *xattrs, struct erofs_inode **file,
                       struct error *error)
{
    if (!layer_clean_name(layer, member->name, error))
        return false;
    if (layer->path.length == 0)
        return add_root(layer, member, xattrs, error);

    struct layer_walk walk = {.layer = layer, .make_missing = true};
    char *name;
    size_t name_size;
    if (!layer_walk_to_parent(&walk, &name, &name_size, error))
        return false;
    if (layer_name_is(name, name_size, opaque_name)) {
        walk.directory->opaque = true;
        return true;
    }
    const size_t prefix_size = strlen(".wh.");
    if (layer_name_is_whiteout(name, name_size))
        return add_whiteout(layer, walk.directory, name + prefix_size, name_size - prefix_size,
                            error);
    return add_named(layer, member, xattrs, walk.directory, name, name_size, file, error);
}

bool layer_tree_add(struct layer_tree *layer, const struct tar_member *member,
                    struct erofs_xattr_set *xattrs, struct erofs_inode **file, struct error *error)
{
    *file = NULL;
    layer->member = member->name;
    layer->members++;
    return add_member(layer, member, xattrs, file, error) && layer_check_count(layer, error);
}

/* Finishing. */

static void mark(struct layer_tree *layer, struct erofs_inode *inode, const char *name)
{
    struct erofs_xattr_pool *pool = &layer->tree.xattrs;
    inode->xattrs = erofs_xattr_set_with(
        pool, inode->xattrs,
        erofs_xattr_intern(pool, EROFS_XATTR_TRUSTED, name, (uint8_t)strlen(name), "y", 1));
}

static void mark_directory(struct layer_tree *layer, struct erofs_inode *directory)
{
    if (directory->opaque)
        mark(layer, directory, EROFS_MARK_OPAQUE);
    if (directory->implied)
        mark(layer, directory, EROFS_MARK_IMPLIED);
}

/* A directory in the place of something that is gone takes nothing over from it. */
static void finish_directory(struct layer_tree *layer, struct erofs_entry *entry)
{
    if (!entry->inode || !erofs_inode_is_directory(entry->inode))
        return;
    if (entry->hides_lower) {
        entry->inode->opaque = true;
        entry->inode->implied = false;
    }
    mark_directory(layer, entry->inode);
}

/* In an opaque directory nothing is left to hide, and overlayfs would list a whiteout. */
static void finish_whiteout(struct erofs_entry *entry, struct erofs_inode *whiteout)
{
    if (entry->hides_lower && !entry->inode && !entry->directory->opaque)
        entry->inode = whiteout;
}

void layer_tree_finish(struct layer_tree *layer)
{
    struct erofs_tree *tree = &layer->tree;
    struct erofs_inode *whiteout = erofs_inode_new(tree, S_IFCHR);
    mark_directory(layer, tree->root);
    for (size_t i = 0; i < tree->slot_count; i++)
        if (tree->slots[i].entry)
            finish_directory(layer, tree->slots[i].entry);
    for (size_t i = 0; i < tree->slot_count; i++)
        if (tree->slots[i].entry)
            finish_whiteout(tree->slots[i].entry, whiteout);
}
