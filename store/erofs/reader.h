/* Reads what the image encoder writes, and nothing else: every offset, size and
 * count is checked before it is used, so that any bytes at all give either sound
 * values or ERROR_DIGEST_MISMATCH saying what is damaged.
 *
 * With pread alone (the blob directory may be NFS). Metadata is read as it is
 * needed and kept until erofs_reader_close(), so pointers into it stay valid. File
 * data is never read. One thread.
 */
#ifndef LARDER_STORE_EROFS_READER_H
#define LARDER_STORE_EROFS_READER_H

#include "store/erofs/tree.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_reader {
    int fd; /* the caller's */
    uint32_t blocks;
    uint64_t root_nid;
    uint64_t inode_count;
    uint64_t slot_count; /* nids are below it */
    uint32_t device_count;
    uint32_t *device_blocks; /* owned; per device */

    uint64_t region_start; /* file offset of metadata[0] */
    uint64_t region_size;
    uint64_t inodes_start;   /* of nid 0, within the region */
    unsigned char *metadata; /* owned */
    bool *loaded;            /* owned; per segment of metadata */
};

/* Checks the superblock against the file. Release with erofs_reader_close(), also
 * after failure. */
[[nodiscard]] bool erofs_reader_open(struct erofs_reader *reader, int fd, uint64_t size_bytes,
                                     struct error *error);
void erofs_reader_close(struct erofs_reader *reader);

struct erofs_read_inode {
    uint64_t nid;
    uint16_t mode;
    uint8_t layout;
    uint32_t uid;
    uint32_t gid;
    uint32_t mtime_nsec;
    int64_t mtime;
    uint64_t size;
    uint32_t address;
    uint32_t link_count;
    uint64_t xattr_offset; /* within the region */
    uint32_t xattr_bytes;
    uint64_t body_offset; /* behind inode and attributes, within the region */
};

[[nodiscard]] bool erofs_reader_inode(struct erofs_reader *reader, uint64_t nid,
                                      struct erofs_read_inode *inode, struct error *error);

/* One name of a directory, valid as long as the reader. */
struct erofs_read_entry {
    uint64_t nid;
    const char *name;
    size_t name_size;
    uint8_t type;
};

/* A position in a directory; begin with {.inode = …}. Names come sorted, each once,
 * "." and ".." among them. */
struct erofs_read_directory {
    const struct erofs_read_inode *inode;
    uint64_t offset;            /* of the next block in the directory */
    const unsigned char *block; /* the one in hand */
    uint32_t block_size;
    uint32_t count;
    uint32_t index;
    const char *last_name;
    size_t last_size;
};

/* The next entry; *end becomes true when there is none. */
[[nodiscard]] bool erofs_reader_next(struct erofs_reader *reader,
                                     struct erofs_read_directory *directory,
                                     struct erofs_read_entry *entry, bool *end,
                                     struct error *error);

/* A symlink's target, not NUL-terminated, `inode->size` bytes. */
[[nodiscard]] bool erofs_reader_target(struct erofs_reader *reader,
                                       const struct erofs_read_inode *inode, const char **target,
                                       struct error *error);

/* A file's runs, all of one device and within it. Those of more than one lie in
 * `arena`. */
[[nodiscard]] bool erofs_reader_file(struct erofs_reader *reader,
                                     const struct erofs_read_inode *inode, struct arena *arena,
                                     struct erofs_file *file, struct error *error);

/* What an inode's attributes say to the composer. */
struct erofs_marks {
    bool opaque;
    bool implied;
    const char *link; /* NULL, or the path of a lower layer's file, link_size bytes */
    size_t link_size;
};

/* The attributes without the marks, and the marks. */
[[nodiscard]] bool erofs_reader_xattrs(struct erofs_reader *reader,
                                       const struct erofs_read_inode *inode,
                                       struct erofs_xattr_pool *pool, struct erofs_xattr_set **set,
                                       struct erofs_marks *marks, struct error *error);

/* ERROR_DIGEST_MISMATCH: "the EROFS file is damaged: …". Returns false. */
bool erofs_damaged(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
