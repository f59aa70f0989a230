/* From a blob's bytes to the tar's, as a stream: plain, gzip of one or several
 * members (RFC 1952; eStargz has one a file) or zstd of one or several frames
 * with skippable ones among them (RFC 8878; zstd:chunked).
 *
 * The media type says which; the blob's magic must agree. Every member's CRC-32
 * and length, and every frame's checksum, are checked. A blob that ends inside a
 * member or frame is refused, and so is anything after the last one, except
 * zeros after gzip: gzip(1) takes those for the padding of a tape block, and
 * they change nothing, for the tar's digest is checked as well.
 *
 * Knows nothing of threads, files or tar. One thread at a time.
 */
#ifndef LARDER_STORE_CONVERT_INFLATE_H
#define LARDER_STORE_CONVERT_INFLATE_H

#include "store/convert.h"

#include <stddef.h>

enum {
    /* The largest zstd window, as a power of two: what zstd(1) itself takes
     * without --long. It bounds our memory: 128 MiB and a little. */
    INFLATE_ZSTD_WINDOW_LOG_MAX = 27,
    /* The first piece of a blob is at least this long, unless the blob is not. */
    INFLATE_MAGIC_BYTES = 4,
};

/* The next piece of input and the room for output; inflate_step() moves both on. */
struct inflate_buffers {
    const uint8_t *in;
    size_t in_bytes;
    uint8_t *out;
    size_t out_bytes;
};

/* What a layer may hold beyond its ratio: no real one of this size is worth refusing, and a
 * bomb of this size is worth nothing. */
static const uint64_t INFLATE_RATIO_FREE_BYTES = UINT64_C(256) << 20;

struct inflate;
struct deflate_engine;

/* What bytes that begin like this are compressed with; at least INFLATE_MAGIC_BYTES of
 * them, unless there are no more. */
[[nodiscard]] enum layer_compression inflate_detect(const uint8_t *bytes, size_t size_bytes);

/* Aborts when out of memory. Free with inflate_free(). */
[[nodiscard]] struct inflate *inflate_new(enum layer_compression compression,
                                          uint64_t max_tar_bytes) __attribute__((returns_nonnull));
/* The same, with an engine for gzip (deflate.h) that is not the best one. */
[[nodiscard]] struct inflate *inflate_new_with(enum layer_compression compression,
                                               uint64_t max_tar_bytes,
                                               const struct deflate_engine *engine)
    __attribute__((returns_nonnull));

/* Refuses, with ERROR_LAYER_TOO_LARGE, what holds more than max_ratio times the bytes that it
 * was inflated from, and 256 MiB more. Zeros are not counted: honest layers have gigabytes of
 * them, in files with holes and empty disk images. Deflate makes up to 1032 of a byte, and zstd
 * any number, but no real content comes near 200. 0: any ratio. */
void inflate_limit_ratio(struct inflate *inflate, uint64_t max_ratio);

/* Goes on until the output is full or the input is used up and nothing more comes
 * out of it. Fails with ERROR_UNSUPPORTED_LAYER (damaged, or not what the media
 * type says) or ERROR_LAYER_TOO_LARGE; nothing may follow a failure. */
[[nodiscard]] bool inflate_step(struct inflate *inflate, struct inflate_buffers *buffers,
                                struct error *error);

/* After the last piece: fails with ERROR_UNSUPPORTED_LAYER if the blob is cut off. */
[[nodiscard]] bool inflate_end(const struct inflate *inflate, struct error *error);

void inflate_free(struct inflate *inflate);

static inline void cleanup_inflate_slot(struct inflate **slot)
{
    inflate_free(*slot);
}
#define cleanup_inflate cleanup(cleanup_inflate_slot)

#endif
