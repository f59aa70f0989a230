/* The composer process, both sides of it: what the node asks, and what the process does. */
#include "store/composer.h"

#include "store/convert/box.h"
#include "store/convert/boxed.h"
#include "store/convert/channel.h"
#include "store/convert/sandbox.h"
#include "store/erofs/format.h"

#include <malloc.h>
#include <sys/stat.h>

enum {
    /* Beside the tree: what is written of it, its indexes, and libraries. */
    BESIDE_TREE_BYTES = 512 << 20,
};

struct composer_channel {
    struct box_outcome outcome;
    struct digest manifest_digest;
    unsigned deadline_seconds;
    size_t layer_count;
    struct {
        struct digest diff_id;
        uint64_t size_bytes;
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

static void ask(struct composer_channel *channel, const struct compose_layer *layers, size_t count,
                const struct digest *manifest_digest, unsigned deadline_seconds)
{
    channel->manifest_digest = *manifest_digest;
    channel->deadline_seconds = deadline_seconds;
    channel->layer_count = count;
    for (size_t i = 0; i < count; i++) {
        channel->layers[i].diff_id = layers[i].diff_id;
        channel->layers[i].size_bytes = layers[i].size_bytes;
    }
}

/* When the process has gone, only its end says why. */
static void hand_over(struct box *box, const struct compose_layer *layers, size_t count)
{
    int fds[COMPOSER_MAX_LAYERS];
    struct error gone;
    for (size_t i = 0; i < count; i++)
        fds[i] = layers[i].fd;
    (void)box_send_files(box, fds, count, &gone);
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
    ask(channel, layers, layer_count, manifest_digest, deadline_seconds);
    box_set_cancel(box, cancel);
    if (!box_start(box, output_fd, error))
        return false;
    hand_over(box, layers, layer_count);
    return box_finish(box, error) && take_result(&channel->result, output_fd, result, error);
}

/* --- the process --- */

static const struct convert_limits *limits_of(const struct composer_channel *channel)
{
    static struct convert_limits limits;
    limits = (struct convert_limits){
        .max_output_bytes = (uint64_t)EROFS_MAX_BLOCKS * EROFS_BLOCK_SIZE,
        .max_memory_bytes = 2 * COMPOSE_MAX_TREE_BYTES + BESIDE_TREE_BYTES,
        .deadline_seconds = channel->deadline_seconds,
    };
    return &limits;
}

static bool compose(struct composer_channel *channel, struct error *error)
{
    static struct compose_layer layers[COMPOSER_MAX_LAYERS];
    static int fds[COMPOSER_MAX_LAYERS];
    /* Ours from here on: the node reads it again only when we are gone. */
    const size_t count = channel->layer_count;
    struct compose_result result = {0};
    if (!sandbox_confine(limits_of(channel), error) || !boxed_take_files(fds, count, error) ||
        !sandbox_seal(error))
        return false;
    for (size_t i = 0; i < count; i++)
        layers[i] = (struct compose_layer){
            .diff_id = channel->layers[i].diff_id,
            .fd = fds[i],
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
    mallopt(M_ARENA_MAX, 1);
    struct composer_channel *channel =
        argc == 2 ? boxed_map_channel(sizeof(struct composer_channel)) : NULL;
    if (!channel) {
        dprintf(STDERR_FILENO, "larder compose: is started by larder itself\n");
        return 2;
    }
    bool done = compose(channel, &channel->outcome.error);
    channel->outcome.verdict = done ? BOX_SUCCEEDED : BOX_FAILED;
    _exit(0);
}
