/* The digest of a file in the blob directory, as the catalogue records it: sha256 over its
 * bytes from FILE_DIGEST_HEAD_BYTES on, and then over those before. What is unknown until an
 * EROFS file is whole lies in its first block, so in this order the digest can be made while
 * the file is written. From a shell:
 *
 *     (tail -c +4097 FILE; head -c 4096 FILE) | sha256sum
 */
#ifndef LARDER_STORE_FILE_DIGEST_H
#define LARDER_STORE_FILE_DIGEST_H

#include "store/digest.h"
#include "store/error.h"

enum { FILE_DIGEST_HEAD_BYTES = 4096 };

/* Reads on from *offset up to `end` and moves *offset there. A file that ends before that
 * is ERROR_INTERNAL. */
[[nodiscard]] bool file_digest_read(struct digest_state *state, int fd, uint64_t *offset,
                                    uint64_t end, struct error *error);

/* The digest of a file of that size. */
[[nodiscard]] bool file_digest_of(int fd, uint64_t size_bytes, struct digest *digest,
                                  struct error *error);

#endif
