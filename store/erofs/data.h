/* One file's data on its way to the output: pieces at rising offsets, with gaps
 * that are zeros. Small gaps are written; whole chunks of zeros become holes, so
 * that a sparse file of terabytes costs what its data costs. */
#ifndef LARDER_STORE_EROFS_DATA_H
#define LARDER_STORE_EROFS_DATA_H

#include "store/erofs/output.h"
#include "store/erofs/tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_data {
    struct erofs_output *output;
    uint64_t size_bytes; /* the file's */
    uint64_t position;   /* the file offset reached */
    uint64_t chunk_bytes;
    bool in_run;
    struct erofs_extent *extents; /* owned */
    uint32_t extent_count;
    uint32_t extent_capacity;
};

/* Begins a file of that size. Release with erofs_data_close(). */
void erofs_data_open(struct erofs_data *data, struct erofs_output *output, uint64_t size_bytes);
void erofs_data_close(struct erofs_data *data);

/* The next piece, at `offset` in the file: not before the end of the one before,
 * not past the file's size. */
[[nodiscard]] bool erofs_data_write(struct erofs_data *data, uint64_t offset, const void *bytes,
                                    size_t size_bytes, struct error *error);

/* Ends the file, with zeros up to its size, and records its runs in the inode. */
[[nodiscard]] bool erofs_data_finish(struct erofs_data *data, struct erofs_tree *tree,
                                     struct erofs_inode *inode, struct error *error);

#endif
