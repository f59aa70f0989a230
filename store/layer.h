/* From one layer's tar to one layer file: an EROFS image that holds the layer's
 * own entries in overlayfs convention (whiteouts are 0:0 character devices,
 * opaque directories carry `trusted.overlay.opaque`="y"; OCI image spec,
 * layer.md). The tar is read once, in order, through libarchive; file data goes
 * straight to the output, metadata after it, the superblock last.
 *
 * The bytes depend on the tar alone: UUID from the diff_id, fixed build time.
 * Memory grows with the number of entries, never with the size of files.
 */
#ifndef LARDER_STORE_LAYER_H
#define LARDER_STORE_LAYER_H

#include "store/digest.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a tar's bytes come from. `next` hands out the next piece, valid until the
 * next call; size 0 is the end. Its failure ends layer_build() with that error. */
struct tar_source {
    bool (*next)(void *context, const void **bytes, size_t *size_bytes, struct error *error);
    void *context;
};

struct layer_limits {
    uint64_t max_entries;      /* members of the tar */
    uint32_t max_path_depth;   /* components of one path */
    uint64_t max_output_bytes; /* size of the layer file */
};

struct layer_result {
    uint64_t entries; /* inodes in the layer file */
    uint64_t erofs_size_bytes;
};

/* Reads the whole source, also what follows the end-of-archive marker, and writes
 * the layer file to output_fd (empty, open for reading and writing; stays the
 * caller's; not yet fsynced). Fails with
 * ERROR_UNSUPPORTED_LAYER naming the member (or telling that the metadata of all is
 * too large), ERROR_LAYER_TOO_LARGE, ERROR_STORAGE_FULL or the source's own error;
 * the output is then garbage. */
[[nodiscard]] bool layer_build(const struct tar_source *source, const struct digest *diff_id,
                               const struct layer_limits *limits, int output_fd,
                               struct layer_result *result, struct error *error);

#endif
