/* The node's side of the converter process: what it is asked, and what it answers. */
#include "store/convert.h"
#include "store/convert/box.h"
#include "store/convert/channel.h"
#include "store/erofs/format.h"

#include <stdatomic.h>

struct converter {
    struct box *box;                 /* owned */
    struct convert_channel *channel; /* the box's */
};

static const struct box_job convert_job = {
    .command = "convert",
    .name = "converter",
    .work = "converting the layer",
    .deadline_flag = " (--convert-timeout)",
    .failure = ERROR_UNSUPPORTED_LAYER,
};

struct convert_limits convert_limits_default(uint64_t max_layer_bytes)
{
    /* Files of a few bytes take 1 KiB of tar: this is a layer of 2 GiB of them. */
    const uint64_t max_entries = 1 << 21;
    /* Per entry: its inode, name, extents and place in a directory. The rest holds
     * the largest zstd window, rings, stacks and libraries. */
    const uint64_t entry_bytes = 512;
    const uint64_t base_bytes = 512 << 20;
    /* The slowest disk that is worth waiting for: it takes the pages that are written back. */
    const uint64_t bytes_per_second = 20 << 20;
    const uint64_t most_seconds = 7 * 24 * 3600;
    const uint64_t seconds = 300 + max_layer_bytes / bytes_per_second;
    return (struct convert_limits){
        .max_tar_bytes = max_layer_bytes,
        .max_ratio = CONVERT_RATIO_DEFAULT,
        /* The last block of each file or directory; a tar's headers pay for the rest. */
        .max_output_bytes = max_layer_bytes + max_entries * EROFS_BLOCK_SIZE,
        .max_entries = max_entries,
        .max_memory_bytes = base_bytes + max_entries * entry_bytes,
        .deadline_seconds = (unsigned)(seconds < most_seconds ? seconds : most_seconds),
    };
}

struct converter *converter_start(const struct convert_request *request, int output_fd,
                                  struct error *error)
{
    struct converter *converter = calloc(1, sizeof(*converter));
    if (!converter)
        abort();
    converter->box = box_new(&convert_job, sizeof(struct convert_channel),
                             request->limits.deadline_seconds, error);
    if (converter->box) {
        converter->channel = box_channel(converter->box);
        converter->channel->request = *request;
        if (box_start(converter->box, output_fd, error))
            return converter;
    }
    converter_free(converter);
    return NULL;
}

void converter_set_cancel(struct converter *converter, const atomic_bool *cancel)
{
    box_set_cancel(converter->box, cancel);
}

bool converter_write(struct converter *converter, const void *bytes, size_t size_bytes,
                     struct error *error)
{
    return box_write(converter->box, bytes, size_bytes, error);
}

uint64_t converter_tar_bytes(const struct converter *converter)
{
    return atomic_load_explicit(&converter->channel->tar_bytes, memory_order_relaxed);
}

bool converter_finish(struct converter *converter, struct convert_report *report,
                      struct error *error)
{
    if (!box_finish(converter->box, error))
        return false;
    *report = converter->channel->report;
    return true;
}

void converter_free(struct converter *converter)
{
    if (!converter)
        return;
    box_free(converter->box);
    free(converter);
}
