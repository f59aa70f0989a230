/* The vmdk descriptor: fsmeta followed by the layer files as one flat disk
 * (createType "twoGbMaxExtentFlat"; VMware's Virtual Disk Format 5.0, "The
 * Extent Description").
 */
#ifndef LARDER_STORE_VMDK_H
#define LARDER_STORE_VMDK_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmdk_extent {
    const char *path;    /* relative to the descriptor: "../layers/sha256_….erofs" */
    uint64_t size_bytes; /* a multiple of 4096 */
};

/* Writes the descriptor of `extents`, in order, to output_fd at offset 0. Extents
 * over 2 GiB are split. The same extents give the same bytes. */
[[nodiscard]] bool vmdk_write(const struct vmdk_extent *extents, size_t extent_count, int output_fd,
                              uint64_t *size_bytes, struct error *error);

#endif
