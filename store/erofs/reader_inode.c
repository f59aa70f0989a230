/* Inodes and what they hold. */
#include "store/erofs/reader.h"
#include "store/erofs/reader_internal.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t blocks_of(uint64_t size_bytes)
{
    return size_bytes / EROFS_BLOCK_SIZE + (size_bytes % EROFS_BLOCK_SIZE != 0);
}

static bool check_layout(const struct erofs_read_inode *inode, struct error *error)
{
    bool fits = false;
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        fits = inode->layout == EROFS_LAYOUT_PLAIN || inode->layout == EROFS_LAYOUT_CHUNKED;
        break;
    case S_IFDIR:
    case S_IFLNK:
        fits = inode->layout == EROFS_LAYOUT_PLAIN || inode->layout == EROFS_LAYOUT_INLINE;
        break;
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        fits = inode->layout == EROFS_LAYOUT_PLAIN && inode->size == 0;
        break;
    default:
        break;
    }
    if (!fits || inode->size > INT64_MAX || inode->mtime_nsec > 999999999)
        return erofs_damaged(error, "inode %" PRIu64 " makes no sense", inode->nid);
    return true;
}

static void take_inode(const struct erofs_reader *reader, const struct erofs_disk_inode *disk,
                       uint64_t nid, struct erofs_read_inode *inode)
{
    uint32_t words = le16toh(disk->xattr_count);
    *inode = (struct erofs_read_inode){
        .nid = nid,
        .mode = le16toh(disk->mode),
        .layout = (uint8_t)(le16toh(disk->format) >> EROFS_FORMAT_LAYOUT_SHIFT),
        .uid = le32toh(disk->uid),
        .gid = le32toh(disk->gid),
        .mtime = (int64_t)le64toh(disk->mtime),
        .mtime_nsec = le32toh(disk->mtime_nsec),
        .size = le64toh(disk->size),
        .address = le32toh(disk->address),
        .link_count = le32toh(disk->link_count),
        .xattr_offset = reader->inodes_start + nid * EROFS_SLOT_SIZE + sizeof(*disk),
    };
    if (words > 0)
        inode->xattr_bytes = (uint32_t)sizeof(struct erofs_disk_xattr_header) + 4 * (words - 1);
    inode->body_offset = inode->xattr_offset + inode->xattr_bytes;
}

bool erofs_reader_inode(struct erofs_reader *reader, uint64_t nid, struct erofs_read_inode *inode,
                        struct error *error)
{
    if (nid == 0 || nid >= reader->slot_count)
        return erofs_damaged(error, "there is no inode %" PRIu64, nid);
    struct erofs_disk_inode disk;
    const unsigned char *bytes =
        erofs_reader_at(reader, reader->inodes_start + nid * EROFS_SLOT_SIZE, sizeof(disk), error);
    if (!bytes)
        return false;
    memcpy(&disk, bytes, sizeof(disk));
    uint16_t known = EROFS_FORMAT_EXTENDED | 7 << EROFS_FORMAT_LAYOUT_SHIFT;
    if ((le16toh(disk.format) & ~known) != 0 || (le16toh(disk.format) & EROFS_FORMAT_EXTENDED) == 0)
        return erofs_damaged(error, "inode %" PRIu64 " has an unknown format", nid);
    take_inode(reader, &disk, nid, inode);
    return check_layout(inode, error);
}

/* `size` bytes of a directory's or symlink's content. */
static const unsigned char *content_at(struct erofs_reader *reader,
                                       const struct erofs_read_inode *inode, uint64_t offset,
                                       uint64_t size, struct error *error)
{
    if (inode->layout == EROFS_LAYOUT_PLAIN)
        return erofs_reader_block(reader, inode->address, offset, size, error);
    /* The kernel refuses an inline part that crosses a block's end. */
    if (inode->body_offset % EROFS_BLOCK_SIZE + inode->size > EROFS_BLOCK_SIZE) {
        erofs_damaged(error, "inode %" PRIu64 " crosses a block", inode->nid);
        return NULL;
    }
    return erofs_reader_at(reader, inode->body_offset + offset, size, error);
}

bool erofs_reader_target(struct erofs_reader *reader, const struct erofs_read_inode *inode,
                         const char **target, struct error *error)
{
    if (inode->size == 0 || inode->size > EROFS_SYMLINK_MAX)
        return erofs_damaged(error, "symlink %" PRIu64 " has %" PRIu64 " bytes", inode->nid,
                             inode->size);
    const unsigned char *bytes = content_at(reader, inode, 0, inode->size, error);
    if (!bytes)
        return false;
    if (memchr(bytes, '\0', inode->size))
        return erofs_damaged(error, "symlink %" PRIu64 " has a NUL", inode->nid);
    *target = (const char *)bytes;
    return true;
}

/* Directories. */

static struct erofs_disk_dirent dirent_at(const struct erofs_read_directory *directory,
                                          uint32_t index)
{
    struct erofs_disk_dirent dirent;
    memcpy(&dirent, directory->block + index * sizeof(dirent), sizeof(dirent));
    return dirent;
}

static bool next_block(struct erofs_reader *reader, struct erofs_read_directory *directory,
                       struct error *error)
{
    uint64_t left = directory->inode->size - directory->offset;
    uint32_t size = left < EROFS_BLOCK_SIZE ? (uint32_t)left : EROFS_BLOCK_SIZE;
    directory->block = content_at(reader, directory->inode, directory->offset, size, error);
    if (!directory->block)
        return false;
    uint32_t names = 0;
    if (size >= sizeof(struct erofs_disk_dirent))
        names = le16toh(dirent_at(directory, 0).name_offset);
    if (names == 0 || names >= size || names % sizeof(struct erofs_disk_dirent) != 0)
        return erofs_damaged(error, "directory %" PRIu64 " has a broken block",
                             directory->inode->nid);
    directory->block_size = size;
    directory->count = names / (uint32_t)sizeof(struct erofs_disk_dirent);
    directory->index = 0;
    directory->offset += size;
    return true;
}

static bool is_sound_name(const char *name, size_t size)
{
    return size > 0 && size <= EROFS_NAME_MAX && !memchr(name, '\0', size) &&
           !memchr(name, '/', size);
}

static bool comes_after(const struct erofs_read_directory *directory, const char *name, size_t size)
{
    if (!directory->last_name)
        return true;
    size_t shorter = size < directory->last_size ? size : directory->last_size;
    int order = memcmp(name, directory->last_name, shorter);
    return order > 0 || (order == 0 && size > directory->last_size);
}

bool erofs_reader_next(struct erofs_reader *reader, struct erofs_read_directory *directory,
                       struct erofs_read_entry *entry, bool *end, struct error *error)
{
    *end = directory->index == directory->count && directory->offset == directory->inode->size;
    if (*end)
        return true;
    if (directory->index == directory->count && !next_block(reader, directory, error))
        return false;

    struct erofs_disk_dirent dirent = dirent_at(directory, directory->index);
    uint32_t start = le16toh(dirent.name_offset);
    uint32_t stop = directory->block_size;
    if (++directory->index < directory->count)
        stop = le16toh(dirent_at(directory, directory->index).name_offset);
    if (start < directory->count * sizeof(dirent) || start > stop || stop > directory->block_size)
        return erofs_damaged(error, "directory %" PRIu64 " has a misplaced name",
                             directory->inode->nid);
    const char *name = (const char *)directory->block + start;
    size_t size = stop - start;
    if (directory->index == directory->count)
        size = strnlen(name, size);
    if (!is_sound_name(name, size) || !comes_after(directory, name, size))
        return erofs_damaged(error, "directory %" PRIu64 " has a bad or unsorted name",
                             directory->inode->nid);
    directory->last_name = name;
    directory->last_size = size;
    *entry = (struct erofs_read_entry){
        .nid = le64toh(dirent.nid), .name = name, .name_size = size, .type = dirent.type};
    return true;
}

/* Files. */

static bool run_is_sound(const struct erofs_reader *reader, uint16_t device, uint64_t start,
                         uint64_t count)
{
    if (device > reader->device_count)
        return false;
    uint64_t blocks = device == 0 ? reader->blocks : reader->device_blocks[device - 1];
    return start > 0 && start <= blocks && count <= blocks - start;
}

static bool plain_file(const struct erofs_reader *reader, const struct erofs_read_inode *inode,
                       struct erofs_file *file, struct error *error)
{
    if (inode->size == 0)
        return true;
    uint64_t count = blocks_of(inode->size);
    if (!run_is_sound(reader, 0, inode->address, count))
        return erofs_damaged(error, "file %" PRIu64 " lies outside", inode->nid);
    file->extent_count = 1;
    file->extent =
        (struct erofs_extent){.start_block = inode->address, .block_count = (uint32_t)count};
    return true;
}

struct chunk_list {
    const unsigned char *bytes;
    unsigned bits;
    uint64_t count;
    uint64_t file_blocks;
};

static bool open_chunks(struct erofs_reader *reader, const struct erofs_read_inode *inode,
                        struct chunk_list *list, struct error *error)
{
    if ((inode->address & ~(uint32_t)EROFS_CHUNK_BITS_MASK) != EROFS_CHUNK_INDEXES)
        return erofs_damaged(error, "file %" PRIu64 " has an unknown chunk format", inode->nid);
    list->bits = inode->address & EROFS_CHUNK_BITS_MASK;
    list->file_blocks = blocks_of(inode->size);
    list->count = (list->file_blocks + (UINT64_C(1) << list->bits) - 1) >> list->bits;
    uint64_t start = (inode->body_offset + 7) & ~UINT64_C(7);
    list->bytes =
        erofs_reader_at(reader, start, list->count * sizeof(struct erofs_disk_chunk), error);
    return list->bytes != NULL;
}

static struct erofs_disk_chunk chunk_at(const struct chunk_list *list, uint64_t index)
{
    struct erofs_disk_chunk chunk;
    memcpy(&chunk, list->bytes + index * sizeof(chunk), sizeof(chunk));
    return chunk;
}

struct run {
    uint64_t file_block;
    uint64_t block_count; /* 0: a hole */
    uint32_t start_block;
    uint16_t device;
};

/* The run that begins with chunk *index, over the chunks that continue it; *index
 * moves behind it. */
static struct run next_run(const struct chunk_list *list, uint64_t *index)
{
    struct erofs_disk_chunk first = chunk_at(list, *index);
    struct run run = {.file_block = *index << list->bits,
                      .start_block = le32toh(first.block),
                      .device = le16toh(first.device)};
    ++*index;
    if (run.start_block == EROFS_HOLE)
        return run;
    uint64_t blocks = UINT64_C(1) << list->bits;
    for (; *index < list->count; ++*index, blocks += UINT64_C(1) << list->bits) {
        struct erofs_disk_chunk next = chunk_at(list, *index);
        if (next.device != first.device || le32toh(next.block) != run.start_block + blocks)
            break;
    }
    uint64_t left = list->file_blocks - run.file_block;
    run.block_count = blocks < left ? blocks : left;
    return run;
}

/* Grows by doubling: what an arena gave stays until its end. */
static void add_run(struct erofs_file *file, const struct run *run, struct arena *arena)
{
    struct erofs_extent extent = {.file_block = run->file_block,
                                  .start_block = run->start_block,
                                  .block_count = (uint32_t)run->block_count};
    uint32_t count = file->extent_count;
    if (count == 0)
        file->extent = extent;
    if (count > 0 && (count & (count - 1)) == 0) {
        struct erofs_extent *grown = arena_alloc_array(arena, 2 * (size_t)count, sizeof(*grown));
        memcpy(grown, erofs_file_extents(file), count * sizeof(*grown));
        file->extents = grown;
    }
    if (count > 0)
        file->extents[count] = extent;
    file->extent_count++;
}

static bool chunked_file(struct erofs_reader *reader, const struct erofs_read_inode *inode,
                         struct arena *arena, struct erofs_file *file, struct error *error)
{
    struct chunk_list list = {0};
    if (!open_chunks(reader, inode, &list, error))
        return false;
    file->chunk_bits = (uint8_t)list.bits;
    for (uint64_t index = 0; index < list.count;) {
        struct run run = next_run(&list, &index);
        if (run.start_block == EROFS_HOLE)
            continue;
        if (!run_is_sound(reader, run.device, run.start_block, run.block_count) ||
            (file->extent_count > 0 && run.device != file->device))
            return erofs_damaged(error, "file %" PRIu64 " lies outside", inode->nid);
        file->device = run.device;
        add_run(file, &run, arena);
    }
    return true;
}

bool erofs_reader_file(struct erofs_reader *reader, const struct erofs_read_inode *inode,
                       struct arena *arena, struct erofs_file *file, struct error *error)
{
    *file = (struct erofs_file){0};
    if (inode->layout == EROFS_LAYOUT_PLAIN)
        return plain_file(reader, inode, file, error);
    return chunked_file(reader, inode, arena, file, error);
}
