#include "tars.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK_BYTES = 512 };

static void append_summed(struct bytes *tar, char header[BLOCK_BYTES])
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK_BYTES; i++)
        sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    blobs_append(tar, header, BLOCK_BYTES);
}

void tars_append_header(struct bytes *tar, const char *name, char type, const char *target,
                        size_t file_bytes)
{
    char header[BLOCK_BYTES] = "";
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", 0644U);
    snprintf(header + 108, 8, "%07o", 0U);
    snprintf(header + 116, 8, "%07o", 0U);
    snprintf(header + 124, 12, "%011zo", file_bytes);
    snprintf(header + 136, 12, "%011o", 0U);
    header[156] = type;
    snprintf(header + 157, 100, "%s", target);
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    append_summed(tar, header);
}

/* In base 256, which has room for any. */
static void put_number(char field[12], uint64_t number)
{
    field[0] = (char)0x80;
    for (int i = 11; i > 3; i--, number >>= 8)
        field[i] = (char)(number & 0xff);
}

void tars_append_sparse(struct bytes *tar, const char *name, uint64_t offset, uint64_t size_bytes,
                        uint64_t file_bytes)
{
    char header[BLOCK_BYTES] = "";
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", 0644U);
    snprintf(header + 124, 12, "%011o", 0U);
    header[156] = 'S';
    memcpy(header + 257, "ustar  ", 8);
    /* GNU's sparse map. */
    put_number(header + 386, offset);
    put_number(header + 398, size_bytes);
    put_number(header + 483, file_bytes);
    append_summed(tar, header);
}

void tars_append_hole(struct bytes *tar, const char *name, size_t file_bytes)
{
    tars_append_sparse(tar, name, file_bytes, 0, file_bytes);
}

void tars_append_file(struct bytes *tar, const char *name, const void *data, size_t size)
{
    static const char zeros[BLOCK_BYTES];
    tars_append_header(tar, name, '0', "", size);
    blobs_append(tar, data, size);
    blobs_append(tar, zeros, (BLOCK_BYTES - size % BLOCK_BYTES) % BLOCK_BYTES);
}

void tars_end(struct bytes *tar)
{
    static const char zeros[2 * BLOCK_BYTES];
    blobs_append(tar, zeros, sizeof(zeros));
}
