#include "store/erofs/data.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A sparse file's index has at most 128 KiB (up to 128 PiB), and a lastlog of 1 TiB
 * chunks of 64 MiB. */
enum { MAX_SPARSE_CHUNKS_BITS = 14 };

static uint64_t align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

/* Does not wrap: sizes are below 2^63, chunks at most 2^43. */
static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return align_down(value + alignment - 1, alignment);
}

static unsigned sparse_chunk_bits(uint64_t size_bytes)
{
    unsigned bits = 0;
    while (bits < EROFS_MAX_CHUNK_BITS &&
           size_bytes >> (EROFS_BLOCK_BITS + bits) >= UINT64_C(1) << MAX_SPARSE_CHUNKS_BITS)
        bits++;
    return bits;
}

void erofs_data_open(struct erofs_data *data, struct erofs_output *output, uint64_t size_bytes)
{
    *data = (struct erofs_data){
        .output = output,
        .size_bytes = size_bytes,
        .chunk_bytes = UINT64_C(1) << (EROFS_BLOCK_BITS + sparse_chunk_bits(size_bytes)),
    };
}

void erofs_data_close(struct erofs_data *data)
{
    free(data->extents);
    data->extents = NULL;
}

static struct erofs_extent *add_extent(struct erofs_data *data)
{
    if (data->extent_count == data->extent_capacity) {
        data->extent_capacity = data->extent_capacity ? 2 * data->extent_capacity : 1;
        data->extents = reallocarray(data->extents, data->extent_capacity, sizeof(*data->extents));
        if (!data->extents)
            abort();
    }
    return &data->extents[data->extent_count++];
}

/* Opens a run at a multiple of the chunk size. The block number fits: the output's
 * limit is below 16 TiB. */
static bool begin_run(struct erofs_data *data, uint64_t offset, struct error *error)
{
    if (!erofs_output_align(data->output, EROFS_BLOCK_SIZE, error))
        return false;
    *add_extent(data) = (struct erofs_extent){
        .file_block = offset / EROFS_BLOCK_SIZE,
        .start_block = (uint32_t)(erofs_output_offset(data->output) / EROFS_BLOCK_SIZE),
    };
    data->position = offset;
    data->in_run = true;
    return true;
}

/* Zeros within the run. */
static bool write_zeros(struct erofs_data *data, uint64_t end, struct error *error)
{
    uint64_t size = end - data->position;
    data->position = end;
    return erofs_output_skip(data->output, size, error);
}

static void end_run(struct erofs_data *data)
{
    struct erofs_extent *extent = &data->extents[data->extent_count - 1];
    uint64_t end = align_up(data->position, EROFS_BLOCK_SIZE) / EROFS_BLOCK_SIZE;
    extent->block_count = (uint32_t)(end - extent->file_block);
    data->in_run = false;
}

/* Brings the run to `offset`, over a hole if a whole chunk is missing. */
static bool bridge_gap(struct erofs_data *data, uint64_t offset, struct error *error)
{
    uint64_t target = align_down(offset, data->chunk_bytes);
    if (data->in_run) {
        uint64_t chunk_end = align_up(data->position, data->chunk_bytes);
        if (target <= chunk_end)
            return write_zeros(data, offset, error);
        if (!write_zeros(data, chunk_end, error))
            return false;
        end_run(data);
    }
    return begin_run(data, target, error) && write_zeros(data, offset, error);
}

bool erofs_data_write(struct erofs_data *data, uint64_t offset, const void *bytes,
                      size_t size_bytes, struct error *error)
{
    assert(offset >= data->position && offset <= data->size_bytes);
    assert(size_bytes <= data->size_bytes - offset);
    if (size_bytes == 0)
        return true;
    if ((!data->in_run || offset > data->position) && !bridge_gap(data, offset, error))
        return false;
    data->position = offset + size_bytes;
    return erofs_output_write(data->output, bytes, size_bytes, error);
}

static bool finish_runs(struct erofs_data *data, struct error *error)
{
    if (!data->in_run)
        return true;
    uint64_t chunk_end = align_up(data->position, data->chunk_bytes);
    uint64_t end = chunk_end < data->size_bytes ? chunk_end : data->size_bytes;
    if (!write_zeros(data, end, error))
        return false;
    end_run(data);
    return erofs_output_align(data->output, EROFS_BLOCK_SIZE, error);
}

bool erofs_data_finish(struct erofs_data *data, struct erofs_tree *tree, struct erofs_inode *inode,
                       struct error *error)
{
    if (!finish_runs(data, error))
        return false;
    inode->size = data->size_bytes;
    inode->file.chunk_bits = (uint8_t)sparse_chunk_bits(data->size_bytes);
    inode->file.extent_count = data->extent_count;
    if (data->extent_count == 1)
        inode->file.extent = data->extents[0];
    if (data->extent_count > 1) {
        inode->file.extents =
            arena_alloc_array(&tree->arena, data->extent_count, sizeof(*inode->file.extents));
        memcpy(inode->file.extents, data->extents,
               data->extent_count * sizeof(*inode->file.extents));
    }
    return true;
}
