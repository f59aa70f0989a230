#include "store/convert/gzip_header.h"

#include <stdbool.h>
#include <zlib.h>

enum {
    FLAG_CRC = 0x02,
    FLAG_EXTRA = 0x04,
    FLAG_NAME = 0x08,
    FLAG_COMMENT = 0x10,
    FLAG_RESERVED = 0xe0,
    FIXED_BYTES = 10,
};

/* The part after `part`, of those that the flags name. */
static enum gzip_header_part part_after(enum gzip_header_part part, uint8_t flags)
{
    if (part < GZIP_EXTRA_LENGTH && flags & FLAG_EXTRA)
        return GZIP_EXTRA_LENGTH;
    if (part == GZIP_EXTRA_LENGTH)
        return GZIP_EXTRA;
    if (part < GZIP_NAME && flags & FLAG_NAME)
        return GZIP_NAME;
    if (part < GZIP_COMMENT && flags & FLAG_COMMENT)
        return GZIP_COMMENT;
    if (part < GZIP_CRC && flags & FLAG_CRC)
        return GZIP_CRC;
    return GZIP_DEFLATE;
}

static void next_part(struct gzip_header *header)
{
    header->part = part_after(header->part, header->flags);
    header->done = 0;
    if (header->part == GZIP_EXTRA && header->extra_bytes == 0)
        next_part(header);
}

/* Magic, method (deflate), flags; time, level and system say nothing to us. */
static bool take_fixed(struct gzip_header *header, uint8_t byte)
{
    static const uint8_t start[] = {0x1f, 0x8b, 8};
    if (header->done < sizeof(start))
        return byte == start[header->done];
    if (header->done == sizeof(start))
        header->flags = byte;
    return (header->flags & FLAG_RESERVED) == 0;
}

static void take_byte(struct gzip_header *header, uint8_t byte)
{
    bool valid = true;
    bool last = false;
    uint32_t crc_before = header->crc;
    header->crc = (uint32_t)crc32(header->crc, &byte, 1);
    switch (header->part) {
    case GZIP_FIXED:
        valid = take_fixed(header, byte);
        last = header->done == FIXED_BYTES - 1;
        break;
    case GZIP_EXTRA_LENGTH:
        header->extra_bytes |= (uint16_t)(byte << 8 * header->done);
        last = header->done == 1;
        break;
    case GZIP_EXTRA:
        last = header->done == header->extra_bytes - 1U;
        break;
    case GZIP_NAME:
    case GZIP_COMMENT:
        last = byte == 0;
        break;
    case GZIP_CRC:
        header->crc = crc_before; /* which it does not cover itself */
        header->stored_crc |= (uint16_t)(byte << 8 * header->done);
        last = header->done == 1;
        valid = !last || header->stored_crc == (header->crc & 0xffff);
        break;
    case GZIP_DEFLATE:
    case GZIP_INVALID:
        break;
    }
    header->done++;
    if (!valid)
        header->part = GZIP_INVALID;
    else if (last)
        next_part(header);
}

size_t gzip_header_take(struct gzip_header *header, const uint8_t *bytes, size_t size_bytes)
{
    size_t taken = 0;
    while (taken < size_bytes && header->part < GZIP_DEFLATE)
        take_byte(header, bytes[taken++]);
    return taken;
}
