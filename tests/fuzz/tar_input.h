/* A fuzzer's bytes as a tar: header checksums are put right, without which libarchive
 * would refuse nearly every mutation, and a struct tar_source hands it out. */
#ifndef LARDER_TESTS_FUZZ_TAR_INPUT_H
#define LARDER_TESTS_FUZZ_TAR_INPUT_H

#include "store/layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAR_BLOCK_BYTES = 512, TAR_PIECE_BYTES = 1021 };

struct tar_input {
    uint8_t *bytes; /* owned */
    size_t size_bytes;
    size_t offset;
    size_t piece_bytes;
};

static inline void tar_input_sign(uint8_t header[TAR_BLOCK_BYTES])
{
    enum { CHECKSUM = 148, CHECKSUM_BYTES = 8 };
    memset(header + CHECKSUM, ' ', CHECKSUM_BYTES);
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
        sum += header[i];
    char text[CHECKSUM_BYTES];
    snprintf(text, sizeof(text), "%06o", sum);
    memcpy(header + CHECKSUM, text, sizeof(text) - 1);
}

static inline size_t tar_input_file_blocks(const uint8_t header[TAR_BLOCK_BYTES])
{
    size_t size = 0;
    for (size_t i = 124; i < 135 && header[i] >= '0' && header[i] <= '7'; i++)
        size = size * 8 + (size_t)(header[i] - '0');
    return (size + TAR_BLOCK_BYTES - 1) / TAR_BLOCK_BYTES;
}

static inline bool tar_input_is_zero(const uint8_t block[TAR_BLOCK_BYTES])
{
    static const uint8_t zeros[TAR_BLOCK_BYTES];
    return memcmp(block, zeros, sizeof(zeros)) == 0;
}

static inline struct tar_input tar_input_open(const uint8_t *data, size_t size_bytes)
{
    struct tar_input tar = {malloc(size_bytes + 1), size_bytes, 0, TAR_PIECE_BYTES};
    if (!tar.bytes)
        abort();
    memcpy(tar.bytes, data, size_bytes);
    size_t blocks = size_bytes / TAR_BLOCK_BYTES;
    for (size_t block = 0; block < blocks;) {
        uint8_t *header = tar.bytes + block * TAR_BLOCK_BYTES;
        if (!tar_input_is_zero(header))
            tar_input_sign(header);
        block += 1 + tar_input_file_blocks(header);
    }
    return tar;
}

static inline void tar_input_close(struct tar_input *tar)
{
    free(tar->bytes);
}

/* Pieces of an odd size unless told otherwise, so that headers lie across two of them. */
static inline bool tar_input_next(void *context, const void **bytes, size_t *size_bytes,
                                  struct error *error)
{
    (void)error;
    struct tar_input *tar = context;
    size_t left = tar->size_bytes - tar->offset;
    *bytes = tar->bytes + tar->offset;
    *size_bytes = left < tar->piece_bytes ? left : tar->piece_bytes;
    tar->offset += *size_bytes;
    return true;
}

static const struct layer_limits tar_input_limits = {
    .max_entries = 1000, .max_path_depth = 64, .max_output_bytes = 8 << 20};

/* layer_build() with limits that a fuzzer can reach, from pieces of that size. */
static inline bool tar_input_build_of(const uint8_t *data, size_t size_bytes, size_t piece_bytes,
                                      int output_fd, struct layer_result *result,
                                      struct error *error)
{
    cleanup(tar_input_close) struct tar_input tar = tar_input_open(data, size_bytes);
    tar.piece_bytes = piece_bytes;
    const struct tar_source source = {tar_input_next, &tar};
    const struct digest diff_id = {{0}};
    return layer_build(&source, &diff_id, &tar_input_limits, output_fd, result, error);
}

static inline bool tar_input_build(const uint8_t *data, size_t size_bytes, int output_fd,
                                   struct layer_result *result, struct error *error)
{
    return tar_input_build_of(data, size_bytes, TAR_PIECE_BYTES, output_fd, result, error);
}

#endif
