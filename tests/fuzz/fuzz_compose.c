/* compose_fsmeta() over good layers: the input is a stack of tars, bottom to top. The
 * first byte says how many; one byte each says how many blocks of it a tar takes. What
 * is composed, the reader must find whole; and the top layer once more changes nothing, unless it
 * links to files of lower layers: what it then finds is its own work, or nothing. */
#include "scratch_file.h"
#include "store/compose.h"
#include "store/erofs/xattr.h"
#include "tar_input.h"

#include <string.h>

enum { MAX_LAYERS = 4 };

static size_t build_layers(const uint8_t *data, size_t size_bytes,
                           struct compose_layer layers[MAX_LAYERS])
{
    size_t wanted = 1 + data[0] % MAX_LAYERS;
    size_t offset = 1 + wanted;
    size_t count = 0;
    for (; count < wanted && offset < size_bytes; count++) {
        size_t size = (size_t)data[1 + count] * TAR_BLOCK_BYTES;
        if (size > size_bytes - offset)
            size = size_bytes - offset;
        struct layer_result result = {0};
        struct error error = {0};
        layers[count].fd = scratch_file(count);
        if (!tar_input_build(data + offset, size, layers[count].fd, &result, &error))
            break;
        layers[count].size_bytes = result.erofs_size_bytes;
        offset += size;
    }
    return count;
}

static bool compose(const struct compose_layer *layers, size_t count, size_t number,
                    struct compose_result *result, struct error *error)
{
    const struct digest manifest = {{0}};
    int output = scratch_file(number);
    bool composed =
        compose_fsmeta(layers, count, COMPOSE_MAX_TREE_BYTES, &manifest, output, result, error);
    if (composed)
        assert(erofs_file_check(output, result->fsmeta_size_bytes, error));
    else
        assert(error->code == ERROR_UNSUPPORTED_LAYER);
    return composed;
}

/* Or has the name of the mark in a file's bytes, which matters little. */
static bool links_to_lower_files(const struct compose_layer *layer)
{
    void *bytes = mmap(NULL, layer->size_bytes, PROT_READ, MAP_SHARED, layer->fd, 0);
    assert(bytes != MAP_FAILED);
    bool found = memmem(bytes, layer->size_bytes, EROFS_MARK_LINK, strlen(EROFS_MARK_LINK)) != NULL;
    munmap(bytes, layer->size_bytes);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct compose_layer layers[MAX_LAYERS + 1] = {0};
    if (size_bytes < 1 + MAX_LAYERS)
        return 0;
    size_t count = build_layers(data, size_bytes, layers);

    struct compose_result once = {0};
    struct compose_result twice = {0};
    struct error error = {0};
    bool composed = compose(layers, count, MAX_LAYERS, &once, &error);
    if (count == 0)
        return 0;
    layers[count] = layers[count - 1];
    bool again = compose(layers, count + 1, MAX_LAYERS + 1, &twice, &error);
    if (!composed || !links_to_lower_files(&layers[count]))
        assert(composed == again && once.entries == twice.entries);
    else if (!again)
        assert(strstr(error.message, "which no lower layer has"));
    return 0;
}
