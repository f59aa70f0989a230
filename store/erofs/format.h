/* EROFS on disk: the part of the format that Larder writes and reads (Linux,
 * Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h).
 *
 * Every field is little-endian: convert with <endian.h>. Blocks are 4 KiB. An
 * inode's number (nid) is its distance from the metadata area's start in 32-byte
 * slots. Inodes are always the 64-byte ("extended") kind, which alone has a
 * modification time and 32-bit owners.
 */
#ifndef LARDER_STORE_EROFS_FORMAT_H
#define LARDER_STORE_EROFS_FORMAT_H

#include <stdint.h>

enum {
    EROFS_BLOCK_BITS = 12,
    EROFS_BLOCK_SIZE = 1 << EROFS_BLOCK_BITS,
    EROFS_SUPER_OFFSET = 1024,
    EROFS_SLOT_SIZE = 32, /* what a nid counts */
    EROFS_NAME_MAX = 255,
    EROFS_SYMLINK_MAX = 4095,
    EROFS_MAX_CHUNK_BITS = 31, /* in blocks */
    EROFS_MAX_SHARED_XATTRS = 255,
    EROFS_MAX_XATTR_COUNT = 65535, /* value of xattr_icount */
    EROFS_MAX_XATTR_VALUE = 65535,
    EROFS_MAX_DEVICES = 65535,
};

#define EROFS_MAGIC      0xE0F5E1E2u
#define EROFS_HOLE       0xFFFFFFFFu /* block address of a chunk of zeros */
#define EROFS_MAX_BLOCKS 0xFFFFFFFEu

enum { /* feature_compat */
       EROFS_COMPAT_CHECKSUM = 0x1,
       EROFS_COMPAT_MTIME = 0x2,
};

enum { /* feature_incompat */
       EROFS_INCOMPAT_CHUNKED_FILE = 0x4,
       EROFS_INCOMPAT_DEVICE_TABLE = 0x8,
};

enum { /* bits 1 to 3 of an inode's format; bit 0 says extended */
       EROFS_LAYOUT_PLAIN = 0,
       EROFS_LAYOUT_INLINE = 2, /* the last part follows the inode and its attributes */
       EROFS_LAYOUT_CHUNKED = 4,
       EROFS_FORMAT_EXTENDED = 1,
       EROFS_FORMAT_LAYOUT_SHIFT = 1,
};

enum { /* an inode's chunk format: bits 0 to 4 are log2 of a chunk's blocks */
       EROFS_CHUNK_BITS_MASK = 0x1F,
       EROFS_CHUNK_INDEXES = 0x20,
};

enum { /* xattr namespaces */
       EROFS_XATTR_USER = 1,
       EROFS_XATTR_ACL_ACCESS = 2,
       EROFS_XATTR_ACL_DEFAULT = 3,
       EROFS_XATTR_TRUSTED = 4,
       EROFS_XATTR_SECURITY = 6,
};

enum { /* types in directory entries */
       EROFS_TYPE_REGULAR = 1,
       EROFS_TYPE_DIRECTORY = 2,
       EROFS_TYPE_CHARACTER = 3,
       EROFS_TYPE_BLOCK = 4,
       EROFS_TYPE_FIFO = 5,
       EROFS_TYPE_SOCKET = 6,
       EROFS_TYPE_SYMLINK = 7,
};

struct erofs_disk_super {
    uint32_t magic;
    uint32_t checksum; /* crc32c, without final inversion, of the rest of its block */
    uint32_t feature_compat;
    uint8_t block_bits;
    uint8_t extra_slots;
    uint16_t root_nid;
    uint64_t inode_count;
    uint64_t build_time;
    uint32_t build_time_nsec;
    uint32_t blocks;
    uint32_t meta_block;  /* nid 0 lies at this block's start */
    uint32_t xattr_block; /* shared attribute 0 lies at this block's start */
    uint8_t uuid[16];
    uint8_t volume_name[16];
    uint32_t feature_incompat;
    uint16_t compression;
    uint16_t device_count; /* besides this file */
    uint16_t device_table; /* in slots of 128 bytes */
    uint8_t directory_block_bits;
    uint8_t xattr_prefix_count;
    uint32_t xattr_prefix_start;
    uint64_t packed_nid;
    uint8_t reserved[24];
};
_Static_assert(sizeof(struct erofs_disk_super) == 128, "on-disk size");

struct erofs_disk_device {
    uint8_t tag[64]; /* the layer's diff_id in hex */
    uint32_t blocks;
    uint32_t mapped_block; /* where the device begins in the flattened disk */
    uint8_t reserved[56];
};
_Static_assert(sizeof(struct erofs_disk_device) == 128, "on-disk size");

struct erofs_disk_inode {
    uint16_t format;
    uint16_t xattr_count; /* 0, or 1 + 32-bit words behind the xattr header */
    uint16_t mode;
    uint16_t reserved;
    uint64_t size;
    uint32_t address; /* first block, device number or chunk format */
    uint32_t number;
    uint32_t uid;
    uint32_t gid;
    uint64_t mtime;
    uint32_t mtime_nsec;
    uint32_t link_count;
    uint8_t reserved2[16];
};
_Static_assert(sizeof(struct erofs_disk_inode) == 64, "on-disk size");

struct erofs_disk_chunk {
    uint16_t reserved;
    uint16_t device; /* 0: this file; n: entry n - 1 of the device table */
    uint32_t block;
};
_Static_assert(sizeof(struct erofs_disk_chunk) == 8, "on-disk size");

/* Followed by `shared_count` 32-bit ids (offset from xattr_block in words), then
 * by the inline entries. */
struct erofs_disk_xattr_header {
    uint32_t name_filter;
    uint8_t shared_count;
    uint8_t reserved[7];
};
_Static_assert(sizeof(struct erofs_disk_xattr_header) == 12, "on-disk size");

/* Followed by the name without its namespace, the value, and padding to 4. */
struct erofs_disk_xattr {
    uint8_t name_size;
    uint8_t index;
    uint16_t value_size;
};
_Static_assert(sizeof(struct erofs_disk_xattr) == 4, "on-disk size");

/* A directory block: entries sorted by name as bytes ("." and ".." among them),
 * then the names. A name ends where the next begins, the last one at a NUL or at
 * the end. */
struct __attribute__((packed)) erofs_disk_dirent {
    uint64_t nid;
    uint16_t name_offset;
    uint8_t type;
    uint8_t reserved;
};
_Static_assert(sizeof(struct erofs_disk_dirent) == 12, "on-disk size");

/* What the superblock's checksum must be, given the file's first block. */
[[nodiscard]] uint32_t erofs_super_checksum(const unsigned char block[EROFS_BLOCK_SIZE]);

#endif
