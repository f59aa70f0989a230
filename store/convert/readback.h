/* Reads the layer file back while it is written, and digests it in the order of
 * store/file_digest.h: what a single digest would take at the end, as it needs the
 * superblock first, is a fifth of a whole conversion.
 *
 * One writer, which tells how far it is, and one thread that reads. The file grows from
 * front to back; only its first block may change until it is whole.
 */
#ifndef LARDER_STORE_CONVERT_READBACK_H
#define LARDER_STORE_CONVERT_READBACK_H

#include "store/digest.h"
#include "store/error.h"

struct readback;

/* Aborts when out of memory. Never freed: it lives as long as its process. */
[[nodiscard]] struct readback *readback_new(void) __attribute__((returns_nonnull));

/* Writer: so many bytes are in the file. */
void readback_grow(struct readback *readback, uint64_t written_bytes);

/* Writer: these are all, and the first block is there. */
void readback_end(struct readback *readback, uint64_t size_bytes);

/* Reader: digests the file as it grows, and returns when it has ended. */
[[nodiscard]] bool readback_run(struct readback *readback, int fd, struct digest *digest,
                                struct error *error);

#endif
