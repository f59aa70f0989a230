/* From a manifest's layer files to fsmeta: one EROFS file with the merged tree of
 * all layers whose file data stays in the layer files, reached as devices.
 *
 * Whiteouts, opaque markers and overlay attributes are applied and gone. The
 * device table gives each layer its block count and its mapped address, so that
 * fsmeta followed by the layer files, bottom to top, is also one flat disk.
 */
#ifndef LARDER_STORE_COMPOSE_H
#define LARDER_STORE_COMPOSE_H

#include "store/digest.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct compose_layer {
    struct digest diff_id; /* names the layer in errors */
    int fd;                /* the layer file, open for reading; stays the caller's */
    uint64_t size_bytes;   /* as recorded; checked against the superblock */
};

/* What the tree of one image may take of memory. */
#define COMPOSE_MAX_TREE_BYTES (UINT64_C(1) << 30)

struct compose_result {
    uint64_t entries;
    uint64_t fsmeta_size_bytes;
};

/* Writes fsmeta for `layers`, bottom to top, to output_fd (empty, open for reading
 * and writing; stays the caller's; not yet fsynced). The same layer may stand
 * there twice. The UUID comes from the manifest's digest. Layer files are read
 * through bounds checks: a damaged one fails with ERROR_DIGEST_MISMATCH naming
 * it. The tree is in memory (docs/converter.md says how much that takes): one that comes to take
 * more than max_tree_bytes is ERROR_LAYER_TOO_LARGE, before the next entry. Thread-safe. */
[[nodiscard]] bool compose_fsmeta(const struct compose_layer *layers, size_t layer_count,
                                  uint64_t max_tree_bytes, const struct digest *manifest_digest,
                                  int output_fd, struct compose_result *result,
                                  struct error *error);

/* Checks that the file is an EROFS image of ours, whole: superblock, checksum,
 * size, and every inode, directory and extent within bounds. */
[[nodiscard]] bool erofs_file_check(int fd, uint64_t size_bytes, struct error *error);

#endif
