/* Tars to test with, member by member. They live as blobs.h says. */
#ifndef LARDER_TESTS_UNIT_TARS_H
#define LARDER_TESTS_UNIT_TARS_H

#include "blobs.h"

/* A ustar header; its type is '0' for a file, '1' a hard link, '2' a symbolic one, '5' a
 * directory. */
void tars_append_header(struct bytes *tar, const char *name, char type, const char *target,
                        size_t file_bytes);
/* A file with its data, padded. */
void tars_append_file(struct bytes *tar, const char *name, const void *data, size_t size);
/* The header of a file with one piece of data among zeros; the piece comes behind it. */
void tars_append_sparse(struct bytes *tar, const char *name, uint64_t offset, uint64_t size_bytes,
                        uint64_t file_bytes);
/* A file of zeros that takes a header alone. */
void tars_append_hole(struct bytes *tar, const char *name, size_t file_bytes);
/* What ends a tar: two blocks of zeros. */
void tars_end(struct bytes *tar);

#endif
