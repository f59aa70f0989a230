#include "store/erofs/image.h"

#include "store/erofs/layout.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Who reads a file keeps its metadata in memory, a converter within 1.5 GiB for all that it
 * does. Two million entries with ordinary names take a third of this. */
#define MAX_METADATA_BYTES (UINT64_C(768) << 20)

/* Where the parts of the metadata begin in the file. */
struct writer {
    struct erofs_output *output;
    struct erofs_layout layout;
    uint32_t xattr_block;
    uint32_t meta_block;
    uint32_t content_block;
    uint32_t total_blocks;
    uint32_t next_number; /* of the next inode */
};

static uint64_t blocks_of(uint64_t size_bytes)
{
    return (size_bytes + EROFS_BLOCK_SIZE - 1) / EROFS_BLOCK_SIZE;
}

uint64_t erofs_image_head_size(size_t device_count)
{
    return EROFS_BLOCK_SIZE * blocks_of(EROFS_SUPER_OFFSET + sizeof(struct erofs_disk_super) +
                                        device_count * sizeof(struct erofs_disk_device));
}

/* Attributes. */

static bool write_xattr(struct erofs_output *output, const struct erofs_xattr *xattr,
                        struct error *error)
{
    struct erofs_disk_xattr disk = {
        .name_size = xattr->name_size,
        .index = xattr->index,
        .value_size = htole16(xattr->value_size),
    };
    return erofs_output_write(output, &disk, sizeof(disk), error) &&
           erofs_output_write(output, xattr->name, xattr->name_size, error) &&
           erofs_output_write(output, xattr->value, xattr->value_size, error) &&
           erofs_output_align(output, sizeof(uint32_t), error);
}

static bool write_shared_xattrs(struct writer *writer, struct error *error)
{
    for (const struct erofs_xattr *at = writer->layout.first_shared; at; at = at->next_shared)
        if (!write_xattr(writer->output, at, error))
            return false;
    return erofs_output_align(writer->output, EROFS_BLOCK_SIZE, error);
}

static bool write_inode_xattrs(struct erofs_output *output, const struct erofs_xattr_set *set,
                               struct error *error)
{
    if (!set)
        return true;
    struct erofs_disk_xattr_header header = {.shared_count = (uint8_t)set->shared_count};
    if (!erofs_output_write(output, &header, sizeof(header), error))
        return false;
    for (size_t i = 0; i < set->count; i++) {
        uint32_t id = htole32(set->items[i]->shared_id);
        if (set->is_shared[i] && !erofs_output_write(output, &id, sizeof(id), error))
            return false;
    }
    for (size_t i = 0; i < set->count; i++)
        if (!set->is_shared[i] && !write_xattr(output, set->items[i], error))
            return false;
    return true;
}

/* Directories. */

static uint8_t entry_type(const struct erofs_inode *inode)
{
    switch (inode->mode & S_IFMT) {
    case S_IFDIR:
        return EROFS_TYPE_DIRECTORY;
    case S_IFLNK:
        return EROFS_TYPE_SYMLINK;
    case S_IFCHR:
        return EROFS_TYPE_CHARACTER;
    case S_IFBLK:
        return EROFS_TYPE_BLOCK;
    case S_IFIFO:
        return EROFS_TYPE_FIFO;
    case S_IFSOCK:
        return EROFS_TYPE_SOCKET;
    default:
        return EROFS_TYPE_REGULAR;
    }
}

static const struct erofs_inode *entry_inode(const struct erofs_inode *directory,
                                             const struct erofs_entry *entry)
{
    if (entry == &erofs_entry_self)
        return directory;
    return entry == &erofs_entry_parent ? directory->directory.parent : entry->inode;
}

/* The block of `count` entries from `first` on. */
static void fill_directory_block(const struct erofs_inode *inode, uint32_t first, uint32_t count,
                                 unsigned char block[EROFS_BLOCK_SIZE])
{
    uint32_t name_offset = count * (uint32_t)sizeof(struct erofs_disk_dirent);
    for (uint32_t i = 0; i < count; i++) {
        const struct erofs_entry *entry = inode->directory.sorted[first + i];
        const struct erofs_inode *child = entry_inode(inode, entry);
        struct erofs_disk_dirent dirent = {
            .nid = htole64(child->nid),
            .name_offset = htole16((uint16_t)name_offset),
            .type = entry_type(child),
        };
        memcpy(block + i * sizeof(dirent), &dirent, sizeof(dirent));
        memcpy(block + name_offset, entry->name, entry->name_size);
        name_offset += entry->name_size;
    }
}

static bool write_directory(struct erofs_output *output, const struct erofs_inode *inode,
                            struct error *error)
{
    unsigned char block[EROFS_BLOCK_SIZE];
    uint32_t total = inode->directory.sorted_count;
    for (uint32_t first = 0; first < total;) {
        uint32_t bytes = 0;
        uint32_t count = erofs_layout_fill_block(&inode->directory, first, &bytes);
        memset(block, 0, sizeof(block));
        fill_directory_block(inode, first, count, block);
        first += count;
        if (!erofs_output_write(output, block, first < total ? sizeof(block) : bytes, error))
            return false;
    }
    return true;
}

static bool write_content(struct erofs_output *output, const struct erofs_inode *inode,
                          struct error *error)
{
    if (erofs_inode_is_directory(inode))
        return write_directory(output, inode, error);
    return erofs_output_write(output, inode->target, (size_t)inode->size, error);
}

static bool write_outside_contents(struct writer *writer, struct error *error)
{
    for (const struct erofs_inode *at = writer->layout.first; at; at = at->next) {
        bool has_content = erofs_inode_is_directory(at) || erofs_inode_is_symlink(at);
        if (!has_content || at->block == 0)
            continue;
        if (!write_content(writer->output, at, error) ||
            !erofs_output_align(writer->output, EROFS_BLOCK_SIZE, error))
            return false;
    }
    return true;
}

/* Files. */

/* The chunk's address, given that runs are made of whole chunks. */
static uint32_t chunk_block(const struct erofs_file *file, uint64_t file_block, uint32_t *run)
{
    const struct erofs_extent *extents = erofs_file_extents(file);
    while (*run < file->extent_count &&
           file_block >= extents[*run].file_block + extents[*run].block_count)
        ++*run;
    if (*run == file->extent_count || file_block < extents[*run].file_block)
        return EROFS_HOLE;
    return extents[*run].start_block + (uint32_t)(file_block - extents[*run].file_block);
}

static bool write_chunks(struct erofs_output *output, const struct erofs_inode *inode,
                         struct error *error)
{
    if (!erofs_output_align(output, sizeof(struct erofs_disk_chunk), error))
        return false;
    unsigned bits = erofs_layout_chunk_bits(inode);
    uint64_t count = erofs_layout_chunk_count(inode);
    uint32_t run = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t block = chunk_block(&inode->file, i << bits, &run);
        struct erofs_disk_chunk chunk = {
            .device = block == EROFS_HOLE ? 0 : htole16(inode->file.device),
            .block = htole32(block),
        };
        if (!erofs_output_write(output, &chunk, sizeof(chunk), error))
            return false;
    }
    return true;
}

/* Inodes. */

struct body {
    unsigned layout;
    uint32_t address;
};

static struct body content_body(const struct writer *writer, const struct erofs_inode *inode)
{
    if (inode->block == 0)
        return (struct body){.layout = EROFS_LAYOUT_INLINE};
    return (struct body){.layout = EROFS_LAYOUT_PLAIN,
                         .address = writer->content_block + inode->block - 1};
}

static struct body file_body(const struct erofs_inode *inode)
{
    if (inode->size == 0)
        return (struct body){.layout = EROFS_LAYOUT_PLAIN};
    if (erofs_layout_is_plain(inode))
        return (struct body){.layout = EROFS_LAYOUT_PLAIN,
                             .address = inode->file.extent.start_block};
    return (struct body){.layout = EROFS_LAYOUT_CHUNKED,
                         .address = EROFS_CHUNK_INDEXES | erofs_layout_chunk_bits(inode)};
}

static struct body inode_body(const struct writer *writer, const struct erofs_inode *inode)
{
    if (erofs_inode_is_file(inode))
        return file_body(inode);
    if (erofs_inode_is_directory(inode) || erofs_inode_is_symlink(inode))
        return content_body(writer, inode);
    return (struct body){.layout = EROFS_LAYOUT_PLAIN, .address = inode->device_number};
}

static bool write_inode(struct writer *writer, const struct erofs_inode *inode, struct error *error)
{
    struct body body = inode_body(writer, inode);
    uint32_t xattr_bytes = erofs_layout_xattr_bytes(inode->xattrs);
    uint32_t header_size = (uint32_t)sizeof(struct erofs_disk_xattr_header);
    struct erofs_disk_inode disk = {
        .format =
            htole16((uint16_t)(EROFS_FORMAT_EXTENDED | body.layout << EROFS_FORMAT_LAYOUT_SHIFT)),
        .xattr_count = htole16(xattr_bytes ? (uint16_t)(1 + (xattr_bytes - header_size) / 4) : 0),
        .mode = htole16(inode->mode),
        .size = htole64(inode->size),
        .address = htole32(body.address),
        .number = htole32(writer->next_number++),
        .uid = htole32(inode->uid),
        .gid = htole32(inode->gid),
        .mtime = htole64((uint64_t)inode->mtime),
        .mtime_nsec = htole32(inode->mtime_nsec),
        .link_count = htole32(inode->link_count),
    };
    if (!erofs_output_write(writer->output, &disk, sizeof(disk), error) ||
        !write_inode_xattrs(writer->output, inode->xattrs, error))
        return false;
    if (body.layout == EROFS_LAYOUT_INLINE)
        return write_content(writer->output, inode, error);
    return body.layout != EROFS_LAYOUT_CHUNKED || write_chunks(writer->output, inode, error);
}

static bool write_inodes(struct writer *writer, struct error *error)
{
    uint64_t start = (uint64_t)writer->meta_block * EROFS_BLOCK_SIZE;
    for (const struct erofs_inode *at = writer->layout.first; at; at = at->next) {
        uint64_t place = start + at->nid * EROFS_SLOT_SIZE;
        uint64_t gap = place - erofs_output_offset(writer->output);
        assert(gap < EROFS_BLOCK_SIZE + EROFS_SLOT_SIZE);
        if (!erofs_output_skip(writer->output, gap, error) || !write_inode(writer, at, error))
            return false;
    }
    return erofs_output_align(writer->output, EROFS_BLOCK_SIZE, error);
}

/* The head. */

/* CRC-32C, as the kernel's crc32c() without its last inversion. Bit by bit: it is for three
 * kilobytes of each file. */
static uint32_t crc32c(const unsigned char *bytes, size_t size)
{
    const uint32_t polynomial = 0x82f63b78;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (polynomial & -(crc & 1));
    }
    return crc;
}

uint32_t erofs_super_checksum(const unsigned char block[EROFS_BLOCK_SIZE])
{
    unsigned char copy[EROFS_BLOCK_SIZE];
    memcpy(copy, block, sizeof(copy));
    memset(copy + EROFS_SUPER_OFFSET + offsetof(struct erofs_disk_super, checksum), 0,
           sizeof(uint32_t));
    return crc32c(copy + EROFS_SUPER_OFFSET, sizeof(copy) - EROFS_SUPER_OFFSET);
}

/* RFC 9562, version 8: ours to fill. */
static void make_uuid(const struct digest *identity, uint8_t uuid[16])
{
    memcpy(uuid, identity->bytes, 16);
    uuid[6] = (uint8_t)((uuid[6] & 0x0F) | 0x80);
    uuid[8] = (uint8_t)((uuid[8] & 0x3F) | 0x80);
}

static void fill_super(const struct writer *writer, const struct erofs_image *image,
                       struct erofs_disk_super *super)
{
    uint32_t incompat = 0;
    if (writer->layout.has_chunks)
        incompat |= EROFS_INCOMPAT_CHUNKED_FILE;
    if (image->device_count > 0)
        incompat |= EROFS_INCOMPAT_DEVICE_TABLE;
    *super = (struct erofs_disk_super){
        .magic = htole32(EROFS_MAGIC),
        .feature_compat = htole32(EROFS_COMPAT_CHECKSUM | EROFS_COMPAT_MTIME),
        .feature_incompat = htole32(incompat),
        .block_bits = EROFS_BLOCK_BITS,
        .root_nid = htole16((uint16_t)writer->layout.first->nid),
        .inode_count = htole64(writer->layout.inode_count),
        .blocks = htole32(writer->total_blocks),
        .meta_block = htole32(writer->meta_block),
        .xattr_block = htole32(writer->xattr_block),
        .device_count = htole16((uint16_t)image->device_count),
    };
    if (image->device_count > 0)
        super->device_table =
            htole16((EROFS_SUPER_OFFSET + sizeof(*super)) / sizeof(struct erofs_disk_device));
    make_uuid(image->identity, super->uuid);
}

static bool fill_devices(const struct erofs_image *image, uint32_t first_block,
                         struct erofs_disk_device *table, struct error *error)
{
    uint64_t mapped = first_block;
    for (size_t i = 0; i < image->device_count; i++) {
        const struct erofs_device *device = &image->devices[i];
        char hex[DIGEST_HEX_SIZE];
        digest_format_hex(&device->diff_id, hex);
        memcpy(table[i].tag, hex, sizeof(table[i].tag));
        table[i].blocks = htole32(device->blocks);
        table[i].mapped_block = htole32((uint32_t)mapped);
        mapped += device->blocks;
        if (mapped > EROFS_MAX_BLOCKS)
            return error_set(error, ERROR_LAYER_TOO_LARGE,
                             "the image's layers are together larger than EROFS's 16 TiB");
    }
    return true;
}

static bool write_head(const struct writer *writer, const struct erofs_image *image,
                       struct error *error)
{
    size_t size = (size_t)erofs_image_head_size(image->device_count);
    cleanup_free unsigned char *head = calloc(1, size);
    if (!head)
        abort();
    struct erofs_disk_super *super = (void *)(head + EROFS_SUPER_OFFSET);
    fill_super(writer, image, super);
    if (!fill_devices(image, writer->total_blocks, (void *)(super + 1), error))
        return false;
    super->checksum = htole32(erofs_super_checksum(head));
    return erofs_output_write_start(writer->output, head, size, error);
}

/* Before anything is written: kilobytes of tar can ask for gigabytes of indexes. */
static bool check_size(const struct writer *writer, uint64_t first_block, uint64_t total,
                       struct error *error)
{
    uint64_t size = (total - first_block) * EROFS_BLOCK_SIZE;
    if (size > MAX_METADATA_BYTES)
        return error_set(error, ERROR_UNSUPPORTED_LAYER,
                         "the metadata would take %" PRIu64 " bytes, more than the limit of "
                         "%" PRIu64,
                         size, MAX_METADATA_BYTES);
    if (total > EROFS_MAX_BLOCKS)
        return error_set(error, ERROR_LAYER_TOO_LARGE, "the EROFS file would exceed 16 TiB");
    uint64_t end = total * EROFS_BLOCK_SIZE;
    return erofs_output_has_room(writer->output, end - erofs_output_offset(writer->output), error);
}

static bool plan_blocks(struct writer *writer, struct error *error)
{
    const struct erofs_layout *layout = &writer->layout;
    uint64_t xattr_block = blocks_of(erofs_output_offset(writer->output));
    uint64_t meta_block = xattr_block + blocks_of(layout->shared_bytes);
    uint64_t content_block = meta_block + blocks_of(layout->inode_bytes);
    uint64_t total = content_block + layout->block_count;
    if (!check_size(writer, xattr_block, total, error))
        return false;
    writer->xattr_block = (uint32_t)xattr_block;
    writer->meta_block = (uint32_t)meta_block;
    writer->content_block = (uint32_t)content_block;
    writer->total_blocks = (uint32_t)total;
    return true;
}

bool erofs_image_write(struct erofs_tree *tree, const struct erofs_image *image,
                       struct erofs_output *output, uint64_t *inode_count, struct error *error)
{
    struct writer writer = {.output = output, .next_number = 1};
    erofs_layout_make(&writer.layout, tree);
    if (!plan_blocks(&writer, error))
        return false;
    if (!erofs_output_align(output, EROFS_BLOCK_SIZE, error) ||
        !write_shared_xattrs(&writer, error) || !write_inodes(&writer, error) ||
        !write_outside_contents(&writer, error) || !erofs_output_finish(output, error))
        return false;
    assert(output->flushed == (uint64_t)writer.total_blocks * EROFS_BLOCK_SIZE);
    *inode_count = writer.layout.inode_count;
    return write_head(&writer, image, error);
}
