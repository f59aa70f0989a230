#include "store/layer/layer_walk.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char whiteout_prefix[] = ".wh.";
static const char reserved_prefix[] = ".wh..wh.";

enum { MAX_LINKS_FOLLOWED = 40 }; /* as Linux does for one path */

static bool starts_with(const char *name, size_t name_size, const char *prefix)
{
    size_t length = strlen(prefix);
    return name_size >= length && memcmp(name, prefix, length) == 0;
}

bool layer_name_is(const char *name, size_t name_size, const char *wanted)
{
    return name_size == strlen(wanted) && memcmp(name, wanted, name_size) == 0;
}

bool layer_name_is_reserved(const char *name, size_t name_size)
{
    return starts_with(name, name_size, reserved_prefix);
}

bool layer_name_is_whiteout(const char *name, size_t name_size)
{
    return starts_with(name, name_size, whiteout_prefix) &&
           !layer_name_is_reserved(name, name_size);
}

/* What stood there may have been on the way to the last directory. */
void layer_set_entry(struct layer_tree *layer, struct erofs_entry *entry, struct erofs_inode *inode)
{
    if (entry->inode)
        layer->last_directory = NULL;
    erofs_entry_set(entry, inode);
}

bool layer_check_count(const struct layer_tree *layer, struct error *error)
{
    uint64_t most = layer->limits->max_entries;
    if (layer->members <= most && layer->tree.inode_count - 1 <= most && layer->tree.used <= most)
        return true;
    return layer_refuse(layer, error, "is one entry more than the limit of %" PRIu64, most);
}

static bool check_depth(const struct layer_tree *layer, uint32_t depth, struct error *error)
{
    if (depth <= layer->limits->max_path_depth)
        return true;
    return layer_refuse(layer, error, "is deeper than the limit of %" PRIu32 " components",
                        layer->limits->max_path_depth);
}

/* Walking: from directory to directory, through symlinks of this layer as the
 * appliers of containerd and umoci do, never out of the root. */

static bool walk_path(struct layer_walk *walk, const char *path, struct error *error);

static bool walk_up(struct layer_walk *walk)
{
    if (walk->missing > 0)
        walk->missing--;
    else
        walk->directory = walk->directory->directory.parent;
    (void)layer_path_pop(&walk->layer->resolved); /* the root's parent is the root */
    return true;
}

static bool walk_symlink(struct layer_walk *walk, const struct erofs_inode *symlink,
                         struct error *error)
{
    if (++walk->layer->links_followed > MAX_LINKS_FOLLOWED)
        return layer_refuse(walk->layer, error, "leads through too many symbolic links");
    if (symlink->target[0] == '/') {
        walk->directory = walk->layer->tree.root;
        layer_path_clear(&walk->layer->resolved);
    }
    return walk_path(walk, symlink->target, error);
}

static bool walk_missing(struct layer_walk *walk, const char *name, size_t name_size,
                         struct error *error)
{
    struct layer_tree *layer = walk->layer;
    layer_path_push(&layer->resolved, name, name_size);
    if (!walk->make_missing) {
        walk->missing++;
        return true;
    }
    if (layer_name_is_whiteout(name, name_size))
        return layer_refuse(layer, error, "lies below a whiteout");
    struct erofs_entry *entry = erofs_tree_entry(&layer->tree, walk->directory, name, name_size);
    struct erofs_inode *made = erofs_inode_new(&layer->tree, S_IFDIR | 0755);
    made->implied = true;
    entry->hidden = layer_name_is_reserved(name, name_size);
    layer_set_entry(layer, entry, made);
    walk->directory = made;
    return layer_check_count(layer, error);
}

static bool walk_name(struct layer_walk *walk, const char *name, size_t name_size,
                      struct error *error)
{
    if (name_size > EROFS_NAME_MAX)
        return layer_refuse(walk->layer, error, "has a component of more than %d bytes",
                            EROFS_NAME_MAX);
    struct erofs_entry *entry = NULL;
    if (walk->missing == 0)
        entry = erofs_tree_find(&walk->layer->tree, walk->directory, name, name_size);
    struct erofs_inode *inode = entry ? entry->inode : NULL;
    if (!inode)
        return walk_missing(walk, name, name_size, error);
    if (erofs_inode_is_symlink(inode))
        return walk_symlink(walk, inode, error);
    if (!erofs_inode_is_directory(inode))
        return layer_refuse(walk->layer, error, "leads through \"%.*s\", which is no directory",
                            (int)name_size, name);
    layer_path_push(&walk->layer->resolved, name, name_size);
    walk->directory = inode;
    return true;
}

static bool walk_path(struct layer_walk *walk, const char *path, struct error *error)
{
    size_t size = 0;
    for (const char *name; (name = layer_path_next(&path, &size));) {
        if (layer_name_is(name, size, "."))
            continue;
        if (layer_name_is(name, size, "..") ? !walk_up(walk) : !walk_name(walk, name, size, error))
            return false;
        /* Of what stands in it. Symbolic links lead deeper than their names are. */
        if (!check_depth(walk->layer, walk->layer->resolved.depth + 1, error))
            return false;
    }
    return true;
}

static bool is_last_parent(const struct layer_tree *layer, const char *parent)
{
    return layer->last_directory && strcmp(layer->last_parent.text, parent) == 0;
}

bool layer_walk_to_parent(struct layer_walk *walk, char **name, size_t *name_size,
                          struct error *error)
{
    struct layer_tree *layer = walk->layer;
    char *slash = memrchr(layer->path.text, '/', layer->path.length);
    *name = slash ? slash + 1 : layer->path.text;
    *name_size = strlen(*name);
    walk->directory = layer->tree.root;
    layer->links_followed = 0;
    layer_path_clear(&layer->resolved);
    /* A whiteout's own name is no file's: what it hides has the limit. */
    size_t limit = EROFS_NAME_MAX;
    if (layer_name_is_whiteout(*name, *name_size))
        limit += strlen(whiteout_prefix);
    if (*name_size > limit)
        return layer_refuse(layer, error, "has a component of more than %d bytes", EROFS_NAME_MAX);
    if (!slash)
        return true;
    *slash = '\0';
    if (!walk->make_missing)
        return walk_path(walk, layer->path.text, error);
    if (!is_last_parent(layer, layer->path.text)) {
        if (!walk_path(walk, layer->path.text, error))
            return false;
        layer_path_clear(&layer->last_parent);
        layer_path_push(&layer->last_parent, layer->path.text, strlen(layer->path.text));
        layer->last_directory = walk->directory;
    }
    walk->directory = layer->last_directory;
    return true;
}

bool layer_clean_name(struct layer_tree *layer, const char *name, struct error *error)
{
    if (!layer_path_clean(&layer->path, name))
        return layer_refuse(layer, error, "leads out of the root");
    return check_depth(layer, layer->path.depth, error);
}
