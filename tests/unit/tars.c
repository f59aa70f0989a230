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

void tars_append_hole(struct bytes *tar, const char *name, size_t file_bytes)
{
    char header[BLOCK_BYTES] = "";
    snprintf(header, 100, "%s", name);
    snprintf(header + 100, 8, "%07o", 0644U);
    snprintf(header + 124, 12, "%011o", 0U);
    header[156] = 'S';
    memcpy(header + 257, "ustar  ", 8);
    /* GNU's sparse map: one piece of no bytes at the end. */
    snprintf(header + 386, 12, "%011zo", file_bytes);
    snprintf(header + 398, 12, "%011o", 0U);
    snprintf(header + 483, 12, "%011zo", file_bytes);
    append_summed(tar, header);
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
