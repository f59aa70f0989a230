#include "store/erofs/xattr.h"

#include "store/erofs/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct namespace_row {
    const char *prefix;
    uint8_t index;
    bool whole; /* the prefix is the whole name */
};

static const struct namespace_row namespaces[] = {
    {"user.", EROFS_XATTR_USER, false},
    {"system.posix_acl_access", EROFS_XATTR_ACL_ACCESS, true},
    {"system.posix_acl_default", EROFS_XATTR_ACL_DEFAULT, true},
    {"trusted.", EROFS_XATTR_TRUSTED, false},
    {"security.", EROFS_XATTR_SECURITY, false},
};

uint8_t erofs_xattr_namespace(const char *full_name, const char **rest)
{
    for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
        size_t length = strlen(namespaces[i].prefix);
        if (strncmp(full_name, namespaces[i].prefix, length) != 0)
            continue;
        if (namespaces[i].whole && full_name[length] != '\0')
            continue;
        *rest = full_name + length;
        return namespaces[i].index;
    }
    return 0;
}

bool erofs_xattr_is_mark(uint8_t index, const char *name, size_t name_size)
{
    static const char *const prefixes[] = {"overlay.", "larder."};
    if (index != EROFS_XATTR_TRUSTED)
        return false;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t length = strlen(prefixes[i]);
        if (name_size >= length && memcmp(name, prefixes[i], length) == 0)
            return true;
    }
    return false;
}

static int compare_sizes_descending(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one;
    uint32_t b = *(const uint32_t *)other;
    return a < b ? 1 : a > b ? -1 : 0;
}

/* What a directory may get when the tar has ended. */
static const struct erofs_xattr opaque_mark = {
    .name_size = sizeof(EROFS_MARK_OPAQUE) - 1,
    .value_size = 1,
};

bool erofs_xattr_set_fits(const struct erofs_xattr_set *set)
{
    if (!set)
        return true;
    cleanup_free uint32_t *sizes = calloc(set->count, sizeof(*sizes));
    if (!sizes)
        abort();
    for (size_t i = 0; i < set->count; i++)
        sizes[i] = erofs_xattr_disk_size(set->items[i]);
    qsort(sizes, set->count, sizeof(*sizes), compare_sizes_descending);

    uint64_t inline_bytes =
        4 * (uint64_t)EROFS_MAX_SHARED_XATTRS + erofs_xattr_disk_size(&opaque_mark);
    for (size_t i = 0; i < set->count; i++)
        if (i >= EROFS_MAX_SHARED_XATTRS || sizes[i] <= EROFS_XATTR_LARGE)
            inline_bytes += sizes[i];
    return inline_bytes <= 4 * (uint64_t)(EROFS_MAX_XATTR_COUNT - 1);
}

void erofs_xattr_pool_free(struct erofs_xattr_pool *pool)
{
    free(pool->slots);
    free(pool->hashes);
    *pool = (struct erofs_xattr_pool){0};
}

static void pool_insert(struct erofs_xattr_pool *pool, uint64_t hash, void *object)
{
    size_t mask = pool->slot_count - 1;
    size_t slot = (size_t)hash & mask;
    while (pool->slots[slot])
        slot = (slot + 1) & mask;
    pool->slots[slot] = object;
    pool->hashes[slot] = hash;
    pool->used++;
}

static void pool_grow(struct erofs_xattr_pool *pool)
{
    struct erofs_xattr_pool old = *pool;
    pool->slot_count = old.slot_count ? 2 * old.slot_count : 64;
    pool->used = 0;
    pool->slots = calloc(pool->slot_count, sizeof(*pool->slots));
    pool->hashes = calloc(pool->slot_count, sizeof(*pool->hashes));
    if (!pool->slots || !pool->hashes)
        abort();
    for (size_t i = 0; i < old.slot_count; i++)
        if (old.slots[i])
            pool_insert(pool, old.hashes[i], old.slots[i]);
    free(old.slots);
    free(old.hashes);
}

/* The next object of that hash from *slot on, or NULL. Bit 0 of the hash tells
 * attributes (0) from sets (1). */
static void *pool_next(const struct erofs_xattr_pool *pool, uint64_t hash, size_t *slot)
{
    if (pool->slot_count == 0)
        return NULL;
    size_t mask = pool->slot_count - 1;
    for (; pool->slots[*slot & mask]; ++*slot)
        if (pool->hashes[*slot & mask] == hash)
            return pool->slots[(*slot)++ & mask];
    return NULL;
}

static void pool_add(struct erofs_xattr_pool *pool, uint64_t hash, void *object)
{
    if (2 * (pool->used + 1) > pool->slot_count)
        pool_grow(pool);
    pool_insert(pool, hash, object);
}

static bool xattr_is(const struct erofs_xattr *xattr, const struct erofs_xattr *other)
{
    return xattr->index == other->index && xattr->name_size == other->name_size &&
           xattr->value_size == other->value_size &&
           memcmp(xattr->name, other->name, other->name_size) == 0 &&
           (other->value_size == 0 || memcmp(xattr->value, other->value, other->value_size) == 0);
}

struct erofs_xattr *erofs_xattr_intern(struct erofs_xattr_pool *pool, uint8_t index,
                                       const char *name, uint8_t name_size, const void *value,
                                       uint16_t value_size)
{
    struct erofs_xattr wanted = {
        .index = index,
        .name_size = name_size,
        .value_size = value_size,
        .name = name,
        .value = value,
        .shared_id = EROFS_XATTR_INLINE,
    };
    uint64_t hash = erofs_hash(value, value_size, erofs_hash(name, name_size, index));
    hash &= ~UINT64_C(1);
    size_t slot = (size_t)hash;
    for (struct erofs_xattr *found; (found = pool_next(pool, hash, &slot));)
        if (xattr_is(found, &wanted))
            return found;

    struct erofs_xattr *xattr = arena_alloc(pool->arena, sizeof(*xattr));
    *xattr = wanted;
    xattr->name = arena_strndup(pool->arena, name, name_size);
    xattr->value = arena_strndup(pool->arena, value, value_size);
    pool_add(pool, hash, xattr);
    return xattr;
}

static int compare_names(const struct erofs_xattr *one, const struct erofs_xattr *other)
{
    if (one->index != other->index)
        return one->index < other->index ? -1 : 1;
    size_t shorter = one->name_size < other->name_size ? one->name_size : other->name_size;
    int order = memcmp(one->name, other->name, shorter);
    return order != 0 ? order : (int)one->name_size - (int)other->name_size;
}

/* How many of the sorted items stand before or are equal to `item`. */
static size_t place_behind(struct erofs_xattr **items, size_t count, const struct erofs_xattr *item)
{
    size_t low = 0;
    for (size_t high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (compare_names(items[middle], item) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Insertion by bisection, as sets are short but a hostile one holds tens of thousands;
 * of equal names the later stays. */
static size_t sort_and_unite(struct erofs_xattr **items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct erofs_xattr *item = items[i];
        size_t at = place_behind(items, kept, item);
        if (at > 0 && compare_names(items[at - 1], item) == 0) {
            items[at - 1] = item;
            continue;
        }
        memmove(items + at + 1, items + at, (kept - at) * sizeof(*items));
        items[at] = item;
        kept++;
    }
    return kept;
}

struct erofs_xattr_set *erofs_xattr_set_intern(struct erofs_xattr_pool *pool,
                                               struct erofs_xattr **items, size_t count)
{
    count = sort_and_unite(items, count);
    if (count == 0)
        return NULL;
    uint64_t hash = erofs_hash(items, count * sizeof(*items), 1) | 1;
    size_t slot = (size_t)hash;
    for (struct erofs_xattr_set *found; (found = pool_next(pool, hash, &slot));)
        if (found->count == count && memcmp(found->items, items, count * sizeof(*items)) == 0)
            return found;

    struct erofs_xattr_set *set = arena_alloc(pool->arena, sizeof(*set) + count * sizeof(*items));
    set->count = count;
    memcpy(set->items, items, count * sizeof(*items));
    pool_add(pool, hash, set);
    return set;
}

struct erofs_xattr_set *erofs_xattr_set_with(struct erofs_xattr_pool *pool,
                                             const struct erofs_xattr_set *set,
                                             struct erofs_xattr *xattr)
{
    size_t count = set ? set->count : 0;
    cleanup_free struct erofs_xattr **items = calloc(count + 1, sizeof(struct erofs_xattr *));
    if (!items)
        abort();
    if (set)
        memcpy(items, set->items, count * sizeof(struct erofs_xattr *));
    items[count] = xattr;
    return erofs_xattr_set_intern(pool, items, count + 1);
}
