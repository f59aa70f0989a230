#include "store/erofs/tree.h"

#include "store/erofs/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { IMPLIED_MODE = 0755 };

void erofs_tree_open(struct erofs_tree *tree)
{
    *tree = (struct erofs_tree){0};
    tree->xattrs.arena = &tree->arena;
    tree->root = erofs_inode_new(tree, S_IFDIR | IMPLIED_MODE);
    tree->root->implied = true;
    tree->root->directory.parent = tree->root;
}

void erofs_tree_close(struct erofs_tree *tree)
{
    erofs_xattr_pool_free(&tree->xattrs);
    free(tree->slots);
    arena_free(&tree->arena);
    *tree = (struct erofs_tree){0};
}

struct erofs_inode *erofs_inode_new(struct erofs_tree *tree, uint16_t mode)
{
    struct erofs_inode *inode = arena_alloc(&tree->arena, sizeof(*inode));
    inode->mode = mode;
    tree->inode_count++;
    return inode;
}

static uint32_t entry_hash(const struct erofs_inode *directory, const char *name, size_t name_size)
{
    return (uint32_t)erofs_hash(name, name_size, (uint64_t)(uintptr_t)directory * 31);
}

static bool entry_is(const struct erofs_entry *entry, const struct erofs_inode *directory,
                     const char *name, size_t name_size)
{
    return entry->directory == directory && entry->name_size == name_size &&
           memcmp(entry->name, name, name_size) == 0;
}

/* The slot of that name, or the empty one where it belongs. */
static struct erofs_slot *find_slot(const struct erofs_tree *tree, uint32_t hash,
                                    const struct erofs_inode *directory, const char *name,
                                    size_t name_size)
{
    size_t mask = tree->slot_count - 1;
    size_t at = hash & mask;
    for (; tree->slots[at].entry; at = (at + 1) & mask)
        if (tree->slots[at].hash == hash &&
            entry_is(tree->slots[at].entry, directory, name, name_size))
            break;
    return &tree->slots[at];
}

static void grow_slots(struct erofs_tree *tree)
{
    size_t old_count = tree->slot_count;
    struct erofs_slot *old = tree->slots;
    tree->slot_count = old_count ? 2 * old_count : 256;
    tree->slots = calloc(tree->slot_count, sizeof(*tree->slots));
    if (!tree->slots)
        abort();
    size_t mask = tree->slot_count - 1;
    for (size_t i = 0; i < old_count; i++) {
        if (!old[i].entry)
            continue;
        size_t at = old[i].hash & mask;
        while (tree->slots[at].entry)
            at = (at + 1) & mask;
        tree->slots[at] = old[i];
    }
    free(old);
}

struct erofs_entry *erofs_tree_find(const struct erofs_tree *tree,
                                    const struct erofs_inode *directory, const char *name,
                                    size_t name_size)
{
    if (tree->slot_count == 0)
        return NULL;
    uint32_t hash = entry_hash(directory, name, name_size);
    return find_slot(tree, hash, directory, name, name_size)->entry;
}

struct erofs_entry *erofs_tree_entry(struct erofs_tree *tree, struct erofs_inode *directory,
                                     const char *name, size_t name_size)
{
    assert(name_size > 0 && name_size <= EROFS_NAME_MAX);
    if (2 * (tree->used + 1) > tree->slot_count)
        grow_slots(tree);
    uint32_t hash = entry_hash(directory, name, name_size);
    struct erofs_slot *slot = find_slot(tree, hash, directory, name, name_size);
    if (slot->entry)
        return slot->entry;

    struct erofs_entry *entry = arena_alloc(&tree->arena, sizeof(*entry));
    entry->directory = directory;
    entry->name = arena_strndup(&tree->arena, name, name_size);
    entry->name_size = (uint8_t)name_size;
    entry->sibling = directory->directory.children;
    directory->directory.children = entry;
    *slot = (struct erofs_slot){.entry = entry, .hash = hash};
    tree->used++;
    return entry;
}

void erofs_entry_set(struct erofs_entry *entry, struct erofs_inode *inode)
{
    entry->inode = inode;
    if (inode && erofs_inode_is_directory(inode))
        inode->directory.parent = entry->directory;
}
