#include "store/erofs/reader.h"

#include "store/erofs/reader_internal.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENT_SIZE = 256 * 1024 };

bool erofs_damaged(struct error *error, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    return error_set(error, ERROR_DIGEST_MISMATCH, "the EROFS file is damaged: %s", reason);
}

static bool read_at(int fd, void *bytes, size_t size, uint64_t offset, struct error *error)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(fd, (char *)bytes + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read the EROFS file");
        if (got == 0)
            return erofs_damaged(error, "it ends at byte %" PRIu64, offset + done);
        done += (size_t)got;
    }
    return true;
}

static bool check_size(int fd, uint64_t size_bytes, struct error *error)
{
    /* Not fstat(): libc makes it a system call that takes paths too, which the
     * converter may not use. */
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot seek in the EROFS file");
    if ((uint64_t)end != size_bytes)
        return erofs_damaged(error, "it has %jd bytes instead of %" PRIu64, (intmax_t)end,
                             size_bytes);
    if (size_bytes < EROFS_BLOCK_SIZE || size_bytes % EROFS_BLOCK_SIZE != 0 ||
        size_bytes / EROFS_BLOCK_SIZE > EROFS_MAX_BLOCKS)
        return erofs_damaged(error, "%" PRIu64 " bytes are no number of blocks", size_bytes);
    return true;
}

static bool check_super(const unsigned char block[EROFS_BLOCK_SIZE], struct error *error)
{
    struct erofs_disk_super super;
    memcpy(&super, block + EROFS_SUPER_OFFSET, sizeof(super));
    if (le32toh(super.magic) != EROFS_MAGIC)
        return erofs_damaged(error, "there is no superblock");
    if (le32toh(super.checksum) != erofs_super_checksum(block))
        return erofs_damaged(error, "the superblock's checksum is wrong");
    uint32_t known = EROFS_INCOMPAT_CHUNKED_FILE | EROFS_INCOMPAT_DEVICE_TABLE;
    if (super.block_bits != EROFS_BLOCK_BITS || super.extra_slots != 0 ||
        super.directory_block_bits != 0 || (le32toh(super.feature_incompat) & ~known) != 0)
        return erofs_damaged(error, "the superblock has features that Larder does not write");
    return true;
}

static bool take_devices(struct erofs_reader *reader, const struct erofs_disk_super *super,
                         uint64_t region_start, struct error *error)
{
    reader->device_count = le16toh(super->device_count);
    if (reader->device_count == 0)
        return true;
    uint64_t start = (uint64_t)le16toh(super->device_table) * sizeof(struct erofs_disk_device);
    uint64_t size = reader->device_count * sizeof(struct erofs_disk_device);
    if (start < EROFS_SUPER_OFFSET + sizeof(*super) || start + size > region_start)
        return erofs_damaged(error, "the device table is out of place");
    cleanup_free struct erofs_disk_device *table = malloc(size);
    reader->device_blocks = calloc(reader->device_count, sizeof(*reader->device_blocks));
    if (!table || !reader->device_blocks)
        abort();
    if (!read_at(reader->fd, table, size, start, error))
        return false;

    uint64_t mapped = reader->blocks;
    for (uint32_t i = 0; i < reader->device_count; i++) {
        reader->device_blocks[i] = le32toh(table[i].blocks);
        if (le32toh(table[i].mapped_block) != mapped)
            return erofs_damaged(error, "device %" PRIu32 " is mapped out of order", i + 1);
        mapped += reader->device_blocks[i];
    }
    return true;
}

static bool take_region(struct erofs_reader *reader, const struct erofs_disk_super *super,
                        struct error *error)
{
    uint32_t xattr_block = le32toh(super->xattr_block);
    uint32_t meta_block = le32toh(super->meta_block);
    if (le32toh(super->blocks) != reader->blocks)
        return erofs_damaged(error, "the superblock counts %" PRIu32 " blocks instead of %" PRIu32,
                             le32toh(super->blocks), reader->blocks);
    if (xattr_block == 0 || xattr_block > meta_block || meta_block >= reader->blocks)
        return erofs_damaged(error, "the metadata is out of place");
    reader->region_start = (uint64_t)xattr_block * EROFS_BLOCK_SIZE;
    reader->region_size = (uint64_t)reader->blocks * EROFS_BLOCK_SIZE - reader->region_start;
    reader->inodes_start = (uint64_t)(meta_block - xattr_block) * EROFS_BLOCK_SIZE;
    reader->slot_count = (reader->region_size - reader->inodes_start) / EROFS_SLOT_SIZE;
    reader->root_nid = le16toh(super->root_nid);
    reader->inode_count = le64toh(super->inode_count);

    /* Touched only where it is loaded. */
    reader->metadata = calloc(1, reader->region_size);
    reader->loaded = calloc(reader->region_size / SEGMENT_SIZE + 1, sizeof(*reader->loaded));
    if (!reader->metadata || !reader->loaded)
        return erofs_damaged(error, "%" PRIu64 " bytes of metadata do not fit into memory",
                             reader->region_size);
    return true;
}

bool erofs_reader_open(struct erofs_reader *reader, int fd, uint64_t size_bytes,
                       struct error *error)
{
    *reader = (struct erofs_reader){.fd = fd};
    unsigned char block[EROFS_BLOCK_SIZE];
    if (!check_size(fd, size_bytes, error) || !read_at(fd, block, sizeof(block), 0, error) ||
        !check_super(block, error))
        return false;
    struct erofs_disk_super super;
    memcpy(&super, block + EROFS_SUPER_OFFSET, sizeof(super));
    reader->blocks = (uint32_t)(size_bytes / EROFS_BLOCK_SIZE);
    return take_region(reader, &super, error) &&
           take_devices(reader, &super, reader->region_start, error);
}

void erofs_reader_close(struct erofs_reader *reader)
{
    free(reader->device_blocks);
    free(reader->metadata);
    free(reader->loaded);
    *reader = (struct erofs_reader){.fd = -1};
}

static bool load_segment(struct erofs_reader *reader, uint64_t segment, struct error *error)
{
    if (reader->loaded[segment])
        return true;
    uint64_t start = segment * SEGMENT_SIZE;
    uint64_t left = reader->region_size - start;
    size_t size = left < SEGMENT_SIZE ? (size_t)left : SEGMENT_SIZE;
    if (!read_at(reader->fd, reader->metadata + start, size, reader->region_start + start, error))
        return false;
    reader->loaded[segment] = true;
    return true;
}

const unsigned char *erofs_reader_at(struct erofs_reader *reader, uint64_t offset, uint64_t size,
                                     struct error *error)
{
    if (offset > reader->region_size || size > reader->region_size - offset) {
        erofs_damaged(error, "%" PRIu64 " bytes at %" PRIu64 " lie outside the metadata", size,
                      reader->region_start + offset);
        return NULL;
    }
    uint64_t end = size > 0 ? offset + size - 1 : offset;
    for (uint64_t segment = offset / SEGMENT_SIZE; segment <= end / SEGMENT_SIZE; segment++)
        if (!load_segment(reader, segment, error))
            return NULL;
    return reader->metadata + offset;
}

const unsigned char *erofs_reader_block(struct erofs_reader *reader, uint32_t block,
                                        uint64_t offset, uint64_t size, struct error *error)
{
    uint64_t start = (uint64_t)block * EROFS_BLOCK_SIZE;
    if (start < reader->region_start || offset > reader->region_size) {
        erofs_damaged(error, "block %" PRIu32 " lies outside the metadata", block);
        return NULL;
    }
    return erofs_reader_at(reader, start - reader->region_start + offset, size, error);
}
