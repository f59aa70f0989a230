#include "store/compose.h"

#include "store/erofs/image.h"
#include "store/erofs/merge.h"

#include <stdlib.h>

static bool take_layer(struct erofs_tree *tree, const struct compose_layer *layer, uint16_t number,
                       uint64_t max_tree_bytes, struct erofs_device *device, struct error *error)
{
    cleanup(erofs_reader_close) struct erofs_reader reader;
    if (!erofs_reader_open(&reader, layer->fd, layer->size_bytes, error) ||
        !erofs_merge_layer(tree, &reader, number, max_tree_bytes, error)) {
        char diff_id[DIGEST_TEXT_SIZE];
        digest_format(&layer->diff_id, diff_id);
        return error_context(error, "layer %s", diff_id);
    }
    *device = (struct erofs_device){.diff_id = layer->diff_id, .blocks = reader.blocks};
    return true;
}

static bool compose(struct erofs_tree *tree, struct erofs_output *output,
                    const struct erofs_image *image, struct compose_result *result,
                    struct error *error)
{
    if (!erofs_output_skip(output, erofs_image_head_size(image->device_count), error) ||
        !erofs_image_write(tree, image, output, &result->entries, error))
        return false;
    result->fsmeta_size_bytes = erofs_output_offset(output);
    return true;
}

bool compose_fsmeta(const struct compose_layer *layers, size_t layer_count, uint64_t max_tree_bytes,
                    const struct digest *manifest_digest, int output_fd,
                    struct compose_result *result, struct error *error)
{
    if (layer_count > EROFS_MAX_DEVICES)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST, "%zu layers are more than %d",
                         layer_count, EROFS_MAX_DEVICES);
    cleanup_free struct erofs_device *devices = calloc(layer_count + 1, sizeof(*devices));
    if (!devices)
        abort();
    cleanup(erofs_tree_close) struct erofs_tree tree;
    erofs_tree_open(&tree);
    for (size_t i = 0; i < layer_count; i++)
        if (!take_layer(&tree, &layers[i], (uint16_t)(i + 1), max_tree_bytes, &devices[i], error))
            return false;

    cleanup(erofs_output_close) struct erofs_output output;
    erofs_output_open(&output, output_fd, (uint64_t)EROFS_MAX_BLOCKS * EROFS_BLOCK_SIZE);
    struct erofs_image image = {
        .identity = manifest_digest, .devices = devices, .device_count = layer_count};
    return compose(&tree, &output, &image, result, error);
}
