/* The header of a gzip member (RFC 1952, 2.3), read however it is cut. igzip can do
 * this too, but 2.30 computes the header's own CRC wrong when it is cut.
 */
#ifndef LARDER_STORE_CONVERT_GZIP_HEADER_H
#define LARDER_STORE_CONVERT_GZIP_HEADER_H

#include <stddef.h>
#include <stdint.h>

enum gzip_header_part {
    GZIP_FIXED,
    GZIP_EXTRA_LENGTH,
    GZIP_EXTRA,
    GZIP_NAME,
    GZIP_COMMENT,
    GZIP_CRC,
    GZIP_DEFLATE, /* the header is whole; what follows is deflate data */
    GZIP_INVALID, /* no gzip header, or its CRC is wrong */
};

/* Zeroed at the start of a header. */
struct gzip_header {
    enum gzip_header_part part;
    uint32_t done; /* bytes of this part */
    uint8_t flags;
    uint16_t extra_bytes;
    uint16_t stored_crc;
    uint32_t crc; /* of what came so far */
};

/* Takes bytes until the header is whole or invalid; returns how many it took. */
[[nodiscard]] size_t gzip_header_take(struct gzip_header *header, const uint8_t *bytes,
                                      size_t size_bytes);

#endif
