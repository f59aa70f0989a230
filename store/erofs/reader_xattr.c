/* Extended attributes of inodes. */
#include "store/erofs/reader.h"
#include "store/erofs/reader_internal.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct collector {
    struct erofs_reader *reader;
    const struct erofs_read_inode *inode;
    struct erofs_xattr_pool *pool;
    struct erofs_marks *marks;
    struct erofs_xattr **items; /* owned */
    size_t count;
    size_t capacity;
};

static void collector_close(struct collector *collector)
{
    free(collector->items);
}

static bool name_is(const char *name, size_t size, const char *wanted)
{
    return size == strlen(wanted) && memcmp(name, wanted, size) == 0;
}

static void take_mark(struct erofs_marks *marks, const char *name, size_t name_size,
                      const char *value, size_t value_size)
{
    if (name_is(name, name_size, EROFS_MARK_OPAQUE))
        marks->opaque = value_size == 1 && value[0] == 'y';
    else if (name_is(name, name_size, EROFS_MARK_IMPLIED))
        marks->implied = true;
    else if (name_is(name, name_size, EROFS_MARK_LINK)) {
        marks->link = value;
        marks->link_size = value_size;
    }
}

static void add_item(struct collector *collector, struct erofs_xattr *item)
{
    if (collector->count == collector->capacity) {
        collector->capacity = collector->capacity ? 2 * collector->capacity : 8;
        collector->items =
            reallocarray(collector->items, collector->capacity, sizeof(struct erofs_xattr *));
        if (!collector->items)
            abort();
    }
    collector->items[collector->count++] = item;
}

static bool index_is_known(uint8_t index)
{
    return index >= EROFS_XATTR_USER && index <= EROFS_XATTR_SECURITY && index != 5;
}

/* The entry at `offset`, of which `limit` bytes may be used; *size is what it takes. */
static bool take_entry(struct collector *collector, uint64_t offset, uint64_t limit, uint64_t *size,
                       struct error *error)
{
    struct erofs_disk_xattr disk;
    const unsigned char *bytes = NULL;
    if (limit >= sizeof(disk)) {
        bytes = erofs_reader_at(collector->reader, offset, sizeof(disk), error);
        if (!bytes)
            return false;
        memcpy(&disk, bytes, sizeof(disk));
    }
    if (!bytes || !index_is_known(disk.index))
        return erofs_damaged(error, "inode %" PRIu64 " has a broken attribute",
                             collector->inode->nid);
    uint16_t value_size = le16toh(disk.value_size);
    uint64_t whole = sizeof(disk) + disk.name_size + value_size;
    *size = (whole + 3) & ~UINT64_C(3);
    if (*size > limit)
        return erofs_damaged(error, "inode %" PRIu64 " has an attribute that is cut short",
                             collector->inode->nid);
    bytes = erofs_reader_at(collector->reader, offset, whole, error);
    if (!bytes)
        return false;
    const char *name = (const char *)bytes + sizeof(disk);
    const char *value = name + disk.name_size;
    if (erofs_xattr_is_mark(disk.index, name, disk.name_size))
        take_mark(collector->marks, name, disk.name_size, value, value_size);
    else
        add_item(collector, erofs_xattr_intern(collector->pool, disk.index, name, disk.name_size,
                                               value, value_size));
    return true;
}

static bool take_shared(struct collector *collector, const unsigned char *ids, uint32_t count,
                        struct error *error)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id;
        memcpy(&id, ids + i * sizeof(id), sizeof(id));
        uint64_t offset = (uint64_t)le32toh(id) * sizeof(id);
        uint64_t limit = collector->reader->inodes_start;
        if (offset >= limit)
            return erofs_damaged(error, "inode %" PRIu64 " shares an attribute that is not there",
                                 collector->inode->nid);
        uint64_t size;
        if (!take_entry(collector, offset, limit - offset, &size, error))
            return false;
    }
    return true;
}

static bool take_all(struct collector *collector, struct error *error)
{
    const struct erofs_read_inode *inode = collector->inode;
    const unsigned char *area =
        erofs_reader_at(collector->reader, inode->xattr_offset, inode->xattr_bytes, error);
    if (!area)
        return false;
    struct erofs_disk_xattr_header header;
    memcpy(&header, area, sizeof(header));
    uint64_t used = sizeof(header) + (uint64_t)header.shared_count * sizeof(uint32_t);
    if (used > inode->xattr_bytes)
        return erofs_damaged(error, "inode %" PRIu64 " shares too many attributes", inode->nid);
    if (!take_shared(collector, area + sizeof(header), header.shared_count, error))
        return false;
    while (used < inode->xattr_bytes) {
        uint64_t size = 0;
        if (!take_entry(collector, inode->xattr_offset + used, inode->xattr_bytes - used, &size,
                        error))
            return false;
        used += size;
    }
    return true;
}

bool erofs_reader_xattrs(struct erofs_reader *reader, const struct erofs_read_inode *inode,
                         struct erofs_xattr_pool *pool, struct erofs_xattr_set **set,
                         struct erofs_marks *marks, struct error *error)
{
    *set = NULL;
    *marks = (struct erofs_marks){0};
    if (inode->xattr_bytes == 0)
        return true;
    cleanup(collector_close) struct collector collector = {
        .reader = reader, .inode = inode, .pool = pool, .marks = marks};
    if (!take_all(&collector, error))
        return false;
    *set = erofs_xattr_set_intern(pool, collector.items, collector.count);
    return true;
}
