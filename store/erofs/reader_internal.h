/* Between the reader's files: the metadata region. */
#ifndef LARDER_STORE_EROFS_READER_INTERNAL_H
#define LARDER_STORE_EROFS_READER_INTERNAL_H

#include "store/erofs/reader.h"

/* The region's bytes from `offset` on, of which `size` are there; NULL when the
 * region has no such bytes or they cannot be read. */
[[nodiscard]] const unsigned char *erofs_reader_at(struct erofs_reader *reader, uint64_t offset,
                                                   uint64_t size, struct error *error);

/* The same for bytes of content outside an inode, at a block of the file. */
[[nodiscard]] const unsigned char *erofs_reader_block(struct erofs_reader *reader, uint32_t block,
                                                      uint64_t offset, uint64_t size,
                                                      struct error *error);

#endif
