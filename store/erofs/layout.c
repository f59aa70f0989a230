#include "store/erofs/layout.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct erofs_entry erofs_entry_self = {.name = ".", .name_size = 1};
struct erofs_entry erofs_entry_parent = {.name = "..", .name_size = 2};

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static uint64_t blocks_of(uint64_t size_bytes)
{
    return size_bytes / EROFS_BLOCK_SIZE + (size_bytes % EROFS_BLOCK_SIZE != 0);
}

/* Breadth-first listing. */

static void count_xattrs(const struct erofs_xattr_set *set)
{
    for (size_t i = 0; set && i < set->count; i++)
        set->items[i]->uses++;
}

static void append(struct erofs_layout *layout, struct erofs_inode *inode)
{
    inode->nid = 1; /* listed; its place comes later */
    if (layout->last)
        layout->last->next = inode;
    else
        layout->first = inode;
    layout->last = inode;
    layout->inode_count++;
    count_xattrs(inode->xattrs);
}

static bool is_live(const struct erofs_entry *entry)
{
    return entry->inode && !entry->hidden;
}

static int compare_entries(const void *one, const void *other)
{
    const struct erofs_entry *a = *(struct erofs_entry *const *)one;
    const struct erofs_entry *b = *(struct erofs_entry *const *)other;
    size_t shorter = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(a->name, b->name, shorter);
    return order != 0 ? order : (int)a->name_size - (int)b->name_size;
}

static void sort_directory(struct erofs_tree *tree, struct erofs_directory *directory)
{
    uint32_t count = 2;
    for (const struct erofs_entry *at = directory->children; at; at = at->sibling)
        count += is_live(at);
    directory->sorted = arena_alloc_array(&tree->arena, count, sizeof(struct erofs_entry *));
    directory->sorted_count = count;

    /* Children are linked newest first, and tars mostly come sorted: fill from the end. */
    for (struct erofs_entry *at = directory->children; at; at = at->sibling)
        if (is_live(at))
            directory->sorted[--count] = at;
    assert(count == 2);
    directory->sorted[0] = &erofs_entry_self;
    directory->sorted[1] = &erofs_entry_parent;
    qsort(directory->sorted, directory->sorted_count, sizeof(struct erofs_entry *),
          compare_entries);
}

uint32_t erofs_layout_fill_block(const struct erofs_directory *directory, uint32_t first,
                                 uint32_t *bytes)
{
    uint32_t used = 0;
    uint32_t at = first;
    for (; at < directory->sorted_count; at++) {
        uint32_t more =
            (uint32_t)sizeof(struct erofs_disk_dirent) + directory->sorted[at]->name_size;
        if (used + more > EROFS_BLOCK_SIZE)
            break;
        used += more;
    }
    *bytes = used;
    return at - first;
}

static uint64_t directory_size(const struct erofs_directory *directory)
{
    uint64_t size = 0;
    for (uint32_t at = 0; at < directory->sorted_count;) {
        uint32_t bytes = 0;
        at += erofs_layout_fill_block(directory, at, &bytes);
        size += at < directory->sorted_count ? EROFS_BLOCK_SIZE : bytes;
    }
    return size;
}

static void list_children(struct erofs_layout *layout, struct erofs_inode *inode)
{
    const struct erofs_directory *directory = &inode->directory;
    inode->link_count += 2;
    for (uint32_t i = 0; i < directory->sorted_count; i++) {
        struct erofs_inode *child = directory->sorted[i]->inode;
        if (!child) /* "." and ".." */
            continue;
        if (erofs_inode_is_directory(child))
            inode->link_count++;
        else
            child->link_count++;
        if (child->nid == 0)
            append(layout, child);
    }
}

/* Attributes: shared when used twice or large, as far as an inode can have them. */

static int compare_sizes(const void *one, const void *other)
{
    uint32_t a = erofs_xattr_disk_size(*(struct erofs_xattr *const *)one);
    uint32_t b = erofs_xattr_disk_size(*(struct erofs_xattr *const *)other);
    return a < b ? 1 : a > b ? -1 : 0;
}

static bool wants_sharing(const struct erofs_xattr *xattr)
{
    return xattr->uses > 1 || erofs_xattr_disk_size(xattr) > EROFS_XATTR_LARGE;
}

/* What of a set may be shared, so that no more than the maximum is: all above a size,
 * and so many of just that size. */
struct sharing {
    uint32_t size_bytes;
    uint32_t left;
};

static struct sharing plan_sharing(const struct erofs_xattr_set *set)
{
    cleanup_free struct erofs_xattr **wanted = calloc(set->count, sizeof(struct erofs_xattr *));
    if (!wanted)
        abort();
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        if (wants_sharing(set->items[i]))
            wanted[count++] = set->items[i];
    if (count <= EROFS_MAX_SHARED_XATTRS)
        return (struct sharing){0};
    qsort(wanted, count, sizeof(struct erofs_xattr *), compare_sizes);
    struct sharing sharing = {.size_bytes =
                                  erofs_xattr_disk_size(wanted[EROFS_MAX_SHARED_XATTRS - 1])};
    for (size_t i = EROFS_MAX_SHARED_XATTRS; i > 0; i--)
        sharing.left += erofs_xattr_disk_size(wanted[i - 1]) == sharing.size_bytes;
    return sharing;
}

static bool may_share(struct sharing *sharing, uint32_t size_bytes)
{
    if (size_bytes != sharing->size_bytes)
        return size_bytes > sharing->size_bytes;
    return sharing->left > 0 && sharing->left-- > 0;
}

static void share(struct erofs_layout *layout, struct erofs_xattr *xattr)
{
    if (xattr->shared_id != EROFS_XATTR_INLINE)
        return;
    xattr->shared_id = (uint32_t)(layout->shared_bytes / sizeof(uint32_t));
    layout->shared_bytes += erofs_xattr_disk_size(xattr);
    if (layout->last_shared)
        layout->last_shared->next_shared = xattr;
    else
        layout->first_shared = xattr;
    layout->last_shared = xattr;
}

static void plan_xattrs(struct erofs_layout *layout, struct erofs_tree *tree,
                        struct erofs_xattr_set *set)
{
    if (!set || set->is_shared)
        return;
    set->is_shared = arena_alloc_array(&tree->arena, set->count, sizeof(bool));
    struct sharing sharing = plan_sharing(set);
    for (size_t i = 0; i < set->count; i++) {
        struct erofs_xattr *item = set->items[i];
        uint32_t size = erofs_xattr_disk_size(item);
        set->is_shared[i] = wants_sharing(item) && may_share(&sharing, size);
        if (set->is_shared[i]) {
            set->shared_count++;
            share(layout, item);
        } else {
            set->inline_bytes += size;
        }
    }
}

uint32_t erofs_layout_xattr_bytes(const struct erofs_xattr_set *set)
{
    if (!set)
        return 0;
    return (uint32_t)sizeof(struct erofs_disk_xattr_header) +
           (uint32_t)sizeof(uint32_t) * set->shared_count + set->inline_bytes;
}

/* Files. */

bool erofs_layout_is_plain(const struct erofs_inode *inode)
{
    const struct erofs_file *file = &inode->file;
    if (inode->size == 0)
        return true;
    return file->device == 0 && file->extent_count == 1 && file->extent.file_block == 0 &&
           file->extent.block_count == blocks_of(inode->size);
}

/* One hole, or one run: chunks of any size describe it. */
static bool is_of_one_piece(const struct erofs_inode *inode)
{
    const struct erofs_file *file = &inode->file;
    if (file->extent_count == 0)
        return true;
    return file->extent_count == 1 && file->extent.file_block == 0 &&
           file->extent.block_count == blocks_of(inode->size);
}

unsigned erofs_layout_chunk_bits(const struct erofs_inode *inode)
{
    if (!is_of_one_piece(inode))
        return inode->file.chunk_bits;
    unsigned bits = 0;
    while (bits < EROFS_MAX_CHUNK_BITS && UINT64_C(1) << bits < blocks_of(inode->size))
        bits++;
    return bits;
}

uint64_t erofs_layout_chunk_count(const struct erofs_inode *inode)
{
    unsigned bits = erofs_layout_chunk_bits(inode);
    return (blocks_of(inode->size) + (UINT64_C(1) << bits) - 1) >> bits;
}

/* Places. */

static uint64_t place_content(struct erofs_layout *layout, struct erofs_inode *inode,
                              uint64_t position, uint64_t header_size)
{
    if (header_size + inode->size > EROFS_BLOCK_SIZE) {
        inode->block = 1 + (uint32_t)layout->block_count;
        layout->block_count += blocks_of(inode->size);
        return position;
    }
    /* What follows an inode may not cross a block's end. */
    uint64_t start = (position + header_size) % EROFS_BLOCK_SIZE;
    if (start + inode->size > EROFS_BLOCK_SIZE)
        position = align_up(position, EROFS_BLOCK_SIZE);
    layout->inode_bytes = position + header_size + inode->size;
    return position;
}

static void place(struct erofs_layout *layout, struct erofs_tree *tree, struct erofs_inode *inode)
{
    plan_xattrs(layout, tree, inode->xattrs);
    uint64_t position = align_up(layout->inode_bytes, EROFS_SLOT_SIZE);
    uint64_t header_size =
        sizeof(struct erofs_disk_inode) + erofs_layout_xattr_bytes(inode->xattrs);
    layout->inode_bytes = position + header_size;
    if (erofs_inode_is_directory(inode) || erofs_inode_is_symlink(inode)) {
        position = place_content(layout, inode, position, header_size);
        if (inode->block)
            layout->inode_bytes = position + header_size;
    } else if (erofs_inode_is_file(inode) && !erofs_layout_is_plain(inode)) {
        uint64_t chunks = align_up(layout->inode_bytes, sizeof(struct erofs_disk_chunk));
        layout->inode_bytes =
            chunks + erofs_layout_chunk_count(inode) * sizeof(struct erofs_disk_chunk);
        layout->has_chunks = true;
    }
    inode->nid = position / EROFS_SLOT_SIZE;
}

void erofs_layout_make(struct erofs_layout *layout, struct erofs_tree *tree)
{
    *layout = (struct erofs_layout){0};
    append(layout, tree->root);
    for (struct erofs_inode *at = layout->first; at; at = at->next) {
        if (!erofs_inode_is_directory(at))
            continue;
        sort_directory(tree, &at->directory);
        at->size = directory_size(&at->directory);
        list_children(layout, at);
    }
    /* Inode number 0 is what readdir(3) calls an unused entry. */
    layout->inode_bytes = EROFS_SLOT_SIZE;
    for (struct erofs_inode *at = layout->first; at; at = at->next)
        place(layout, tree, at);
}
