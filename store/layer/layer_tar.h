/* A layer's tar, member by member, through libarchive: every dialect of the
 * format, names as bytes, nothing from the environment. */
#ifndef LARDER_STORE_LAYER_LAYER_TAR_H
#define LARDER_STORE_LAYER_LAYER_TAR_H

#include "store/error.h"
#include "store/layer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tar_type {
    TAR_FILE,
    TAR_DIRECTORY,
    TAR_SYMLINK,
    TAR_HARD_LINK,
    TAR_CHARACTER,
    TAR_BLOCK,
    TAR_FIFO,
};

/* Valid until the next member. */
struct tar_member {
    enum tar_type type;
    const char *name;
    const char *link_target; /* of a symlink or hard link */
    uint16_t permissions;    /* 07777 */
    int64_t uid;
    int64_t gid;
    int64_t mtime;
    uint32_t mtime_nsec;
    uint64_t major;
    uint64_t minor;
    uint64_t size_bytes;   /* of a file */
    uint64_t stored_bytes; /* of those, what is in the tar: holes are not */
};

struct tar_reader;

/* Never NULL; free with tar_reader_free(). The source is the caller's. */
[[nodiscard]] struct tar_reader *tar_reader_new(const struct tar_source *source)
    __attribute__((returns_nonnull));
void tar_reader_free(struct tar_reader *reader);

/* The next member. At the archive's end *end becomes true and the source has been
 * read to its own end. */
[[nodiscard]] bool tar_reader_next(struct tar_reader *reader, struct tar_member *member, bool *end,
                                   struct error *error);

/* The member's next extended attribute, with its full name; false when there is none. */
[[nodiscard]] bool tar_reader_xattr(struct tar_reader *reader, const char **name,
                                    const void **value, size_t *value_size);

/* The next piece of the file's data; pieces come in order and do not overlap, and
 * what is not given is zeros. *size_bytes 0 is the end. */
[[nodiscard]] bool tar_reader_data(struct tar_reader *reader, const void **bytes,
                                   size_t *size_bytes, uint64_t *offset, struct error *error);

/* An error about one member: `"name": reason`, with unprintable bytes escaped. */
bool tar_refuse(struct error *error, enum error_code code, const char *name, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

#endif
