/* The composer process, both sides of it: what the node asks, and what the process does. */
#include "store/composer.h"

#include "store/convert/box.h"
#include "store/convert/boxed.h"
#include "store/convert/channel.h"
#include "store/convert/sandbox.h"

#include <sys/stat.h>

/* The tree and its indexes, while it grows; what is read and written of it, and libraries. */
#define MAX_MEMORY_BYTES (2 * COMPOSE_MAX_TREE_BYTES + (UINT64_C(512) << 20))

struct composer_channel {
    struct box_outcome outcome;
    struct digest manifest_digest;
    unsigned deadline_seconds;
    size_t file_count; /* a layer that stands there twice is one file */
    size_t layer_count;
    struct {
        struct digest diff_id;
        uint64_t size_bytes;
        size_t file; /* which one */
    } layers[COMPOSER_MAX_LAYERS];
    struct compose_result result;
};

/* --- the node --- */

static const struct box_job compose_job = {
    .command = "compose",
    .name = "composer",
    .work = "composing the image",
    .deadline_flag = " (--convert-timeout)",
    .failure = ERROR_UNSUPPORTED_LAYER,
};

static void cleanup_box_slot(struct box **slot)
{
    box_free(*slot);
}

/* Fills the files to hand over, each once, and returns their number. */
static size_t ask(struct composer_channel *channel, const struct compose_layer *layers,
                  size_t count, const struct digest *manifest_digest, unsigned deadline_seconds,
                  int *fds)
{
    size_t file_count = 0;
    channel->manifest_digest = *manifest_digest;
    channel->deadline_seconds = deadline_seconds;
    channel->layer_count = count;
    for (size_t i = 0; i < count; i++) {
        size_t file = 0;
        while (file < file_count && fds[file] != layers[i].fd)
            file++;
        if (file == file_count)
            fds[file_count++] = layers[i].fd;
        channel->layers[i].diff_id = layers[i].diff_id;
        channel->layers[i].size_bytes = layers[i].size_bytes;
        channel->layers[i].file = file;
    }
    channel->file_count = file_count;
    return file_count;
}

/* When the process has gone, only its end says why. */
static bool hand_over(struct box *box, const int *fds, size_t count, struct error *error)
{
    struct error unsent;
    if (box_send_files(box, fds, count, &unsent) || unsent.os_errno == 0 ||
        unsent.os_errno == EPIPE || unsent.os_errno == ECONNRESET)
        return true;
    *error = unsent;
    return false;
}

/* The process is not to be trusted: its file is as long as it is. */
static bool take_result(const struct compose_result *said, int fd, struct compose_result *result,
                        struct error *error)
{
    struct stat status;
    *result = *said;
    if (fstat(fd, &status) == 0 && (uint64_t)status.st_size == result->fsmeta_size_bytes)
        return true;
    return error_set(error, ERROR_INTERNAL, "the composer wrote a file of another size");
}

bool composer_run(const struct compose_layer *layers, size_t layer_count,
                  const struct digest *manifest_digest, unsigned deadline_seconds,
                  const atomic_bool *cancel, int output_fd, struct compose_result *result,
                  struct error *error)
{
    if (layer_count > COMPOSER_MAX_LAYERS)
        return error_set(error, ERROR_UNSUPPORTED_MANIFEST, "%zu layers are more than %d",
                         layer_count, COMPOSER_MAX_LAYERS);
    cleanup(cleanup_box_slot) struct box *box =
        box_new(&compose_job, sizeof(struct composer_channel), deadline_seconds, error);
    if (!box)
        return false;
    struct composer_channel *channel = box_channel(box);
    int fds[COMPOSER_MAX_LAYERS];
    const size_t file_count =
        ask(channel, layers, layer_count, manifest_digest, deadline_seconds, fds);
    box_set_cancel(box, cancel);
    return box_start(box, output_fd, error) && hand_over(box, fds, file_count, error) &&
           box_finish(box, error) && take_result(&channel->result, output_fd, result, error);
}

/* --- the process --- */

static const struct convert_limits *limits_of(const struct composer_channel *channel)
{
    static struct convert_limits limits;
    limits = (struct convert_limits){
        .max_output_bytes = MAX_MEMORY_BYTES, /* it is read into memory, to check it */
        .max_memory_bytes = MAX_MEMORY_BYTES,
        .deadline_seconds = channel->deadline_seconds,
    };
    return &limits;
}

static bool compose(void *memory, struct error *error)
{
    struct composer_channel *channel = memory;
    static struct compose_layer layers[COMPOSER_MAX_LAYERS];
    static int fds[COMPOSER_MAX_LAYERS];
    /* Ours from here on: the node reads it again only when we are gone. */
    const size_t count = channel->layer_count;
    struct compose_result result = {0};
    if (!sandbox_confine(limits_of(channel), error) ||
        !boxed_take_files(fds, channel->file_count, error) || !sandbox_seal(error))
        return false;
    for (size_t i = 0; i < count; i++)
        layers[i] = (struct compose_layer){
            .diff_id = channel->layers[i].diff_id,
            .fd = fds[channel->layers[i].file],
            .size_bytes = channel->layers[i].size_bytes,
        };
    if (!compose_fsmeta(layers, count, COMPOSE_MAX_TREE_BYTES, &channel->manifest_digest,
                        BOX_OUTPUT_FD, &result, error) ||
        !erofs_file_check(BOX_OUTPUT_FD, result.fsmeta_size_bytes, error))
        return false;
    channel->result = result;
    return true;
}

int composer_main(int argc, char **argv)
{
    (void)argv;
    return boxed_main(argc, "compose", sizeof(struct composer_channel), compose);
}
