#include "store/erofs/merge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_LINKS_FOLLOWED = 40 };

/* A directory of the layer that is to be merged into one of the tree. */
struct pending {
    uint64_t nid;
    struct erofs_inode *directory;
};

/* A hard link to a lower layer's file, to be found when the layer is merged. */
struct link {
    struct erofs_entry *entry;
    const char *path; /* in the reader's memory */
    size_t path_size;
};

struct merge {
    struct erofs_tree *tree;
    struct erofs_reader *layer;
    uint16_t number;
    struct erofs_inode *lower_root; /* before this layer */
    struct erofs_inode **by_nid;    /* owned; the layer's hard-linked files so far */
    uint64_t entries_left;          /* more cannot be in the layer's bytes */
    uint64_t max_tree_bytes;
    struct pending *stack; /* owned */
    size_t stack_count;
    size_t stack_capacity;
    struct link *links; /* owned */
    size_t link_count;
    size_t link_capacity;
};

static void merge_close(struct merge *merge)
{
    free(merge->by_nid);
    free(merge->stack);
    free(merge->links);
}

static void *grow(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? 2 * *capacity : 64;
    items = reallocarray(items, *capacity, item_size);
    if (!items)
        abort();
    return items;
}

static void push_directory(struct merge *merge, uint64_t nid, struct erofs_inode *directory)
{
    merge->stack =
        grow(merge->stack, merge->stack_count, &merge->stack_capacity, sizeof(*merge->stack));
    merge->stack[merge->stack_count++] = (struct pending){.nid = nid, .directory = directory};
}

static void push_link(struct merge *merge, struct erofs_entry *entry,
                      const struct erofs_marks *marks)
{
    merge->links =
        grow(merge->links, merge->link_count, &merge->link_capacity, sizeof(*merge->links));
    merge->links[merge->link_count++] =
        (struct link){.entry = entry, .path = marks->link, .path_size = marks->link_size};
}

/* Keeps what a hard link of this layer may still mean by that name. */
static void set_entry(struct merge *merge, struct erofs_entry *entry, struct erofs_inode *inode)
{
    if (entry->changed_by != merge->number) {
        entry->before = entry->inode;
        entry->changed_by = merge->number;
    }
    erofs_entry_set(entry, inode);
}

/* Inodes. */

static void copy_metadata(struct erofs_inode *inode, const struct erofs_read_inode *from,
                          struct erofs_xattr_set *xattrs)
{
    inode->mode = from->mode;
    inode->uid = from->uid;
    inode->gid = from->gid;
    inode->mtime = from->mtime;
    inode->mtime_nsec = from->mtime_nsec;
    inode->xattrs = xattrs;
}

static bool take_target(struct merge *merge, const struct erofs_read_inode *from,
                        struct erofs_inode *inode, struct error *error)
{
    const char *target;
    if (!erofs_reader_target(merge->layer, from, &target, error))
        return false;
    inode->target = arena_strndup(&merge->tree->arena, target, from->size);
    return true;
}

static bool take_file(struct merge *merge, const struct erofs_read_inode *from,
                      struct erofs_inode *inode, struct error *error)
{
    if (!erofs_reader_file(merge->layer, from, &merge->tree->arena, &inode->file, error))
        return false;
    if (inode->file.device != 0)
        return erofs_damaged(error, "file %" PRIu64 " lies outside its layer", from->nid);
    inode->file.device = merge->number;
    return true;
}

/* An inode of the merged tree with all that a non-directory of the layer has. */
static bool take_inode(struct merge *merge, const struct erofs_read_inode *from,
                       struct erofs_xattr_set *xattrs, struct erofs_inode **taken,
                       struct error *error)
{
    struct erofs_inode *inode = erofs_inode_new(merge->tree, from->mode);
    *taken = inode;
    copy_metadata(inode, from, xattrs);
    inode->size = from->size;
    if (S_ISREG(from->mode))
        return take_file(merge, from, inode, error);
    if (S_ISLNK(from->mode))
        return take_target(merge, from, inode, error);
    inode->device_number = from->address;
    return true;
}

/* Entries. */

/* A layer may stand in an image many times, and each time its files take memory anew. */
static bool check_tree_size(const struct merge *merge, struct error *error)
{
    const struct erofs_tree *tree = merge->tree;
    uint64_t bytes = tree->arena.block_bytes + tree->slot_count * sizeof(*tree->slots);
    return bytes <= merge->max_tree_bytes ||
           error_set(error, ERROR_LAYER_TOO_LARGE,
                     "the layers up to this one have so many entries that their tree takes %" PRIu64
                     " bytes of memory, and the limit is %" PRIu64,
                     bytes, merge->max_tree_bytes);
}

static bool merge_whiteout(struct merge *merge, struct erofs_inode *directory,
                           const struct erofs_read_entry *from)
{
    struct erofs_entry *entry =
        erofs_tree_find(merge->tree, directory, from->name, from->name_size);
    if (entry)
        set_entry(merge, entry, NULL);
    return true;
}

/* The directory that the layer's one becomes: the lower one, with or without new
 * metadata, or a new one. */
static struct erofs_inode *united_directory(struct merge *merge, struct erofs_inode *lower,
                                            const struct erofs_read_inode *from,
                                            struct erofs_xattr_set *xattrs,
                                            const struct erofs_marks *marks)
{
    struct erofs_inode *united = lower;
    if (!lower || marks->opaque) {
        united = erofs_inode_new(merge->tree, from->mode);
        if (lower && marks->implied) {
            struct erofs_directory own = united->directory;
            *united = *lower;
            united->directory = own;
            return united;
        }
    }
    if (united != lower || !marks->implied)
        copy_metadata(united, from, xattrs);
    return united;
}

static bool merge_subdirectory(struct merge *merge, struct erofs_inode *directory,
                               const struct erofs_read_entry *name,
                               const struct erofs_read_inode *from, struct error *error)
{
    struct erofs_xattr_set *xattrs;
    struct erofs_marks marks;
    if (!erofs_reader_xattrs(merge->layer, from, &merge->tree->xattrs, &xattrs, &marks, error))
        return false;
    struct erofs_entry *entry =
        erofs_tree_entry(merge->tree, directory, name->name, name->name_size);
    struct erofs_inode *lower = entry->inode;
    if (lower && !erofs_inode_is_directory(lower))
        lower = NULL;
    struct erofs_inode *united = united_directory(merge, lower, from, xattrs, &marks);
    if (united != lower)
        set_entry(merge, entry, united);
    push_directory(merge, from->nid, united);
    return true;
}

static bool merge_other(struct merge *merge, struct erofs_inode *directory,
                        const struct erofs_read_entry *name, const struct erofs_read_inode *from,
                        struct error *error)
{
    struct erofs_entry *entry =
        erofs_tree_entry(merge->tree, directory, name->name, name->name_size);
    struct erofs_inode *inode = merge->by_nid[from->nid];
    if (inode) {
        set_entry(merge, entry, inode);
        return true;
    }
    struct erofs_xattr_set *xattrs;
    struct erofs_marks marks;
    if (!erofs_reader_xattrs(merge->layer, from, &merge->tree->xattrs, &xattrs, &marks, error))
        return false;
    if (marks.link) {
        push_link(merge, entry, &marks);
        return true;
    }
    if (!take_inode(merge, from, xattrs, &inode, error))
        return false;
    if (from->link_count > 1)
        merge->by_nid[from->nid] = inode;
    set_entry(merge, entry, inode);
    return true;
}

static bool is_dots(const struct erofs_read_entry *entry)
{
    return entry->name[0] == '.' &&
           (entry->name_size == 1 || (entry->name_size == 2 && entry->name[1] == '.'));
}

static bool merge_entry(struct merge *merge, struct erofs_inode *directory,
                        const struct erofs_read_entry *entry, struct error *error)
{
    if (merge->entries_left-- == 0)
        return erofs_damaged(error, "its directories form a cycle");
    if (is_dots(entry))
        return true;
    if (!check_tree_size(merge, error))
        return false;
    struct erofs_read_inode inode;
    if (!erofs_reader_inode(merge->layer, entry->nid, &inode, error))
        return false;
    if (S_ISCHR(inode.mode) && inode.address == 0)
        return merge_whiteout(merge, directory, entry);
    if (S_ISDIR(inode.mode))
        return merge_subdirectory(merge, directory, entry, &inode, error);
    return merge_other(merge, directory, entry, &inode, error);
}

static bool merge_directory(struct merge *merge, struct pending pending, struct error *error)
{
    struct erofs_read_inode inode;
    if (!erofs_reader_inode(merge->layer, pending.nid, &inode, error))
        return false;
    struct erofs_read_directory at = {.inode = &inode};
    for (;;) {
        struct erofs_read_entry entry;
        bool end = false;
        if (!erofs_reader_next(merge->layer, &at, &entry, &end, error))
            return false;
        if (end)
            return true;
        if (!merge_entry(merge, pending.directory, &entry, error))
            return false;
    }
}

static bool merge_root(struct merge *merge, struct error *error)
{
    struct erofs_read_inode inode;
    struct erofs_xattr_set *xattrs;
    struct erofs_marks marks;
    struct erofs_tree *tree = merge->tree;
    if (!erofs_reader_inode(merge->layer, merge->layer->root_nid, &inode, error) ||
        !erofs_reader_xattrs(merge->layer, &inode, &tree->xattrs, &xattrs, &marks, error))
        return false;
    if (!S_ISDIR(inode.mode))
        return erofs_damaged(error, "its root is no directory");
    tree->root = united_directory(merge, tree->root, &inode, xattrs, &marks);
    tree->root->directory.parent = tree->root;
    push_directory(merge, inode.nid, tree->root);
    return true;
}

/* Hard links to lower files: looked up in the tree as it was below this layer. */

static struct erofs_inode *lower_inode(const struct merge *merge,
                                       const struct erofs_inode *directory, const char *name,
                                       size_t name_size)
{
    const struct erofs_entry *entry = erofs_tree_find(merge->tree, directory, name, name_size);
    if (!entry)
        return NULL;
    return entry->changed_by == merge->number ? entry->before : entry->inode;
}

/* Cuts the first component off *path; false when there is none. */
static bool cut_name(const char **path, size_t *size, const char **name, size_t *name_size)
{
    while (*size > 0 && **path == '/') {
        ++*path;
        --*size;
    }
    *name = *path;
    const char *slash = memchr(*path, '/', *size);
    *name_size = slash ? (size_t)(slash - *path) : *size;
    *path += *name_size;
    *size -= *name_size;
    return *name_size > 0;
}

/* The inode at `path` from `directory`, through symlinks on the way but not at the
 * end unless `follow_last`. NULL when there is none. */
static struct erofs_inode *lower_walk(const struct merge *merge, struct erofs_inode *directory,
                                      const char *path, size_t size, bool follow_last,
                                      unsigned *links_left)
{
    struct erofs_inode *at = size > 0 && path[0] == '/' ? merge->lower_root : directory;
    const char *name;
    size_t name_size;
    while (cut_name(&path, &size, &name, &name_size)) {
        if (!erofs_inode_is_directory(at))
            return NULL;
        if (name_size == 1 && name[0] == '.')
            continue;
        if (name_size == 2 && name[0] == '.' && name[1] == '.') {
            at = at == merge->lower_root ? at : at->directory.parent;
            continue;
        }
        struct erofs_inode *next =
            name_size > EROFS_NAME_MAX ? NULL : lower_inode(merge, at, name, name_size);
        if (!next)
            return NULL;
        bool follow = erofs_inode_is_symlink(next) && (follow_last || size > 0);
        if (follow && (*links_left)-- == 0)
            return NULL;
        if (follow)
            next = lower_walk(merge, at, next->target, next->size, true, links_left);
        if (!next)
            return NULL;
        at = next;
    }
    return at;
}

static bool resolve_links(struct merge *merge, struct error *error)
{
    for (size_t i = 0; i < merge->link_count; i++) {
        const struct link *link = &merge->links[i];
        unsigned links_left = MAX_LINKS_FOLLOWED;
        struct erofs_inode *found =
            lower_walk(merge, merge->lower_root, link->path, link->path_size, false, &links_left);
        if (!found || erofs_inode_is_directory(found))
            return error_set(error, ERROR_UNSUPPORTED_LAYER,
                             "\"%.*s\" is a hard link to \"%.*s\", which no lower layer has",
                             link->entry->name_size, link->entry->name,
                             (int)(link->path_size < 255 ? link->path_size : 255), link->path);
        set_entry(merge, link->entry, found);
    }
    return true;
}

bool erofs_merge_layer(struct erofs_tree *tree, struct erofs_reader *layer, uint16_t number,
                       uint64_t max_tree_bytes, struct error *error)
{
    cleanup(merge_close) struct merge merge = {
        .tree = tree,
        .layer = layer,
        .number = number,
        .lower_root = tree->root,
        .entries_left = layer->region_size / sizeof(struct erofs_disk_dirent),
        .max_tree_bytes = max_tree_bytes,
        .by_nid = calloc(layer->slot_count, sizeof(struct erofs_inode *)),
    };
    if (!merge.by_nid)
        abort();
    if (!merge_root(&merge, error))
        return false;
    while (merge.stack_count > 0)
        if (!merge_directory(&merge, merge.stack[--merge.stack_count], error))
            return false;
    return resolve_links(&merge, error);
}
