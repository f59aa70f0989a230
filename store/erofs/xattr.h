/* Extended attributes, interned: equal attributes are one object, equal sets too,
 * so that a layer of 100,000 labelled files holds one label.
 */
#ifndef LARDER_STORE_EROFS_XATTR_H
#define LARDER_STORE_EROFS_XATTR_H

#include "store/arena.h"
#include "store/erofs/format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_xattr {
    uint8_t index; /* namespace: EROFS_XATTR_… */
    uint8_t name_size;
    uint16_t value_size;
    const char *name; /* without its namespace; not NUL-terminated */
    const void *value;

    /* Owned by the image encoder. */
    uint32_t uses;      /* by inodes that are written */
    uint32_t shared_id; /* EROFS_XATTR_INLINE, or its place in the shared area */
    struct erofs_xattr *next_shared;
};

#define EROFS_XATTR_INLINE 0xFFFFFFFFu

/* Attributes sorted by namespace and name, each name once. */
struct erofs_xattr_set {
    size_t count;
    /* Owned by the image encoder. */
    bool *is_shared; /* per item; NULL: not planned yet */
    uint32_t shared_count;
    uint32_t inline_bytes;
    struct erofs_xattr *items[];
};

/* Larder's own marks in layer files. They, and overlayfs's, never come from a tar
 * and never reach a merged tree. */
#define EROFS_MARK_OPAQUE  "overlay.opaque"  /* trusted: "y" */
#define EROFS_MARK_IMPLIED "larder.implied"  /* trusted: "y"; the directory was not in the tar */
#define EROFS_MARK_LINK    "larder.hardlink" /* trusted: path of a lower layer's file */

/* True for names in the trusted namespace that are marks. */
[[nodiscard]] bool erofs_xattr_is_mark(uint8_t index, const char *name, size_t name_size);

/* Finds the namespace of a full name ("user.x"): its index, and the rest of the
 * name. 0 when EROFS has no such namespace. */
[[nodiscard]] uint8_t erofs_xattr_namespace(const char *full_name, const char **rest);

/* On disk, with padding. */
static inline uint32_t erofs_xattr_disk_size(const struct erofs_xattr *xattr)
{
    uint32_t size = (uint32_t)sizeof(struct erofs_disk_xattr) + xattr->name_size;
    return (size + xattr->value_size + 3) & ~UINT32_C(3);
}

/* From here on an attribute goes to the shared area even when used once. */
enum { EROFS_XATTR_LARGE = 1024 };

/* Whether EROFS can hold the set, however it is shared, and an opaque mark beside it. */
[[nodiscard]] bool erofs_xattr_set_fits(const struct erofs_xattr_set *set);

/* All attributes and sets of one tree. Zero-initialise; everything lives in `arena`
 * but the tables. */
struct erofs_xattr_pool {
    struct arena *arena;
    void **slots; /* owned; open addressing over attributes and sets together */
    uint64_t *hashes;
    size_t slot_count;
    size_t used;
};

void erofs_xattr_pool_free(struct erofs_xattr_pool *pool);

[[nodiscard]] struct erofs_xattr *erofs_xattr_intern(struct erofs_xattr_pool *pool, uint8_t index,
                                                     const char *name, uint8_t name_size,
                                                     const void *value, uint16_t value_size)
    __attribute__((returns_nonnull));

/* The set of `items`, which it sorts; of equal names the last wins. NULL for none. */
[[nodiscard]] struct erofs_xattr_set *
erofs_xattr_set_intern(struct erofs_xattr_pool *pool, struct erofs_xattr **items, size_t count);

/* `set` (or NULL) and one attribute more, which replaces its namesake. */
[[nodiscard]] struct erofs_xattr_set *erofs_xattr_set_with(struct erofs_xattr_pool *pool,
                                                           const struct erofs_xattr_set *set,
                                                           struct erofs_xattr *xattr);

#endif
