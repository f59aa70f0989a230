/* A fuzzer's bytes as an EROFS file: whole blocks, and a superblock whose checksum is
 * put right, without which the reader would refuse every mutation of it. */
#ifndef LARDER_TESTS_FUZZ_IMAGE_INPUT_H
#define LARDER_TESTS_FUZZ_IMAGE_INPUT_H

#include "scratch_file.h"
#include "store/erofs/format.h"

#include <endian.h>
#include <stddef.h>
#include <string.h>

/* A scratch file with the first whole blocks of the data, at least one. */
static inline int image_input_file(size_t number, const uint8_t *data, size_t size_bytes)
{
    unsigned char head[EROFS_BLOCK_SIZE] = {0};
    memcpy(head, data, size_bytes < sizeof(head) ? size_bytes : sizeof(head));
    uint32_t checksum = htole32(erofs_super_checksum(head));
    memcpy(head + EROFS_SUPER_OFFSET + offsetof(struct erofs_disk_super, checksum), &checksum,
           sizeof(checksum));

    int fd = scratch_file(number);
    size_t whole = size_bytes / EROFS_BLOCK_SIZE * EROFS_BLOCK_SIZE;
    ssize_t written = pwrite(fd, data, whole, 0);
    assert(written == (ssize_t)whole);
    written = pwrite(fd, head, sizeof(head), 0);
    assert(written == (ssize_t)sizeof(head));
    return fd;
}

static inline size_t image_input_size(size_t size_bytes)
{
    return size_bytes < EROFS_BLOCK_SIZE ? EROFS_BLOCK_SIZE
                                         : size_bytes / EROFS_BLOCK_SIZE * EROFS_BLOCK_SIZE;
}

#endif
