/* An archive that was sent to us (`docker save`, an OCI image layout as a tar), taken
 * apart: its members lie in one file of ours, and are found by name.
 *
 * A member's name is a key and never a path. Links are followed within the archive:
 * `docker save` writes shared layers as symbolic links. Of members with the same name
 * the last counts, as for tar(1). Everything here is hostile input. One thread.
 */
#ifndef LARDER_STORE_LOAD_ARCHIVE_H
#define LARDER_STORE_LOAD_ARCHIVE_H

#include "store/arena.h"
#include "store/digest.h"
#include "store/error.h"
#include "store/layer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ARCHIVE_NAME_SIZE = 256,                /* with NUL; members with longer names are left out */
    ARCHIVE_MAX_MEMBERS = 1 << 14,          /* 40 images of 128 layers in Docker's old layout */
    ARCHIVE_MAX_DOCUMENT_BYTES = 4 << 20,   /* one manifest, index or config */
    ARCHIVE_MAX_DOCUMENTS_BYTES = 64 << 20, /* all that are read of one archive */
};

struct archive_limits {
    uint64_t max_archive_bytes; /* uncompressed: --max-archive-bytes */
    uint64_t max_member_bytes;  /* --max-layer-bytes */
};

enum archive_member_type { ARCHIVE_FILE, ARCHIVE_SYMLINK, ARCHIVE_HARD_LINK };

/* As the unpacker writes it. */
struct archive_member {
    uint64_t offset; /* of a file's bytes */
    uint64_t size_bytes;
    uint32_t type;                  /* of enum archive_member_type */
    uint32_t number;                /* in the archive's order */
    char name[ARCHIVE_NAME_SIZE];   /* without leading "/" and "./" */
    char target[ARCHIVE_NAME_SIZE]; /* of a link */
};

struct archive {
    int fd;                         /* the caller's; holds the files' bytes */
    struct archive_member *members; /* in the arena; by name, then by number */
    size_t member_count;
    uint64_t documents_bytes; /* read so far */
};

/* Reads the body to its end and takes it apart into fd (empty, open for reading and
 * writing), in a boxed process: plain, gzip or zstd, in any order of its members. Fails
 * with ERROR_INVALID_ARGUMENT when it is no whole tar, ERROR_PAYLOAD_TOO_LARGE or
 * ERROR_LAYER_TOO_LARGE, ERROR_STORAGE_FULL, or the body's own error. */
[[nodiscard]] bool archive_unpack(const struct tar_source *body,
                                  const struct archive_limits *limits, int fd, struct arena *arena,
                                  struct archive *archive, struct error *error);

/* The main() of the boxed process, `larder unpack`. */
[[nodiscard]] int unpack_main(int argc, char **argv);

/* Brings the members into the order that archive_find() relies on. */
void archive_sort(struct archive *archive);

/* The file of that name, links followed; NULL: there is none. */
[[nodiscard]] const struct archive_member *archive_find(const struct archive *archive,
                                                        const char *name);
/* The blob of an OCI layout, by the name that its digest gives it (image-layout.md). */
[[nodiscard]] const struct archive_member *archive_find_blob(const struct archive *archive,
                                                             const struct digest *digest);

/* A small member in memory. */
struct archive_document {
    const char *bytes; /* in the arena, with a NUL after them */
    size_t size_bytes;
    struct digest digest; /* computed */
};
/* Fails with ERROR_INVALID_ARGUMENT when it or all of them are too large. */
[[nodiscard]] bool archive_read_document(struct archive *archive,
                                         const struct archive_member *member, struct arena *arena,
                                         struct archive_document *document, struct error *error);

/* Reads some of a member's bytes; fails at their end. */
[[nodiscard]] bool archive_read(const struct archive *archive, const struct archive_member *member,
                                uint64_t offset, void *bytes, size_t size_bytes,
                                struct error *error);

#endif
