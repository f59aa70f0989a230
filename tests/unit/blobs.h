/* Bytes to test with: samples, and the same compressed, piece after piece. All of
 * them live until blobs_free(), which goes into a suite's .fini. */
#ifndef LARDER_TESTS_UNIT_BLOBS_H
#define LARDER_TESTS_UNIT_BLOBS_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t size;
};

/* Text that compresses about as well as a tar does; the same every time. */
[[nodiscard]] struct bytes blobs_sample(size_t size);

[[nodiscard]] struct bytes blobs_zeros(size_t size);

/* Each puts one more piece behind what is there. */
void blobs_append(struct bytes *bytes, const void *data, size_t size);
void blobs_append_gzip_member(struct bytes *blob, const void *data, size_t size);
void blobs_append_zstd_frame(struct bytes *blob, const void *data, size_t size);
void blobs_append_skippable_frame(struct bytes *blob);

void blobs_free(void);

#endif
