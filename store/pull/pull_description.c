/* What a pull writes into manifests/<hex>.json. */
#include "store/description.h"
#include "store/pull/pull_task.h"

static const struct described_layer *list_layers(struct pull_task *task)
{
    const struct pull *pull = &task->pull;
    struct described_layer *layers =
        arena_alloc_array(&task->arena, pull->layer_count, sizeof(*layers));
    for (size_t i = 0; i < pull->layer_count; i++)
        layers[i] = (struct described_layer){
            .blob_digest = pull->layers[i].blob_digest,
            .media_type = pull->layers[i].media_type,
            .size_bytes = pull->layers[i].total_bytes,
            .diff_id = pull->layers[i].diff_id,
        };
    return layers;
}

static const struct description_layer *list_files(struct pull_task *task)
{
    struct description_layer *files =
        arena_alloc_array(&task->arena, task->layer_count, sizeof(*files));
    for (size_t i = 0; i < task->layer_count; i++) {
        const struct layer_record *record = &task->layers[i].record;
        files[i] = (struct description_layer){
            .diff_id = record->diff_id,
            .erofs_digest = record->erofs_digest,
            .erofs_size_bytes = record->erofs_size_bytes,
            .tar_size_bytes = record->tar_size_bytes,
        };
    }
    return files;
}

bool pull_describe_image(struct pull_task *task, int fd, struct error *error)
{
    char config_digest[DIGEST_TEXT_SIZE];
    char platform[PLATFORM_TEXT_SIZE];
    digest_format(&task->config_bytes.digest, config_digest);
    platform_format(&task->platform, platform);
    const struct described_image image = {
        .reference = task->pull.reference,
        .platform = platform,
        .index_digest = task->is_from_index ? task->index_digest : NULL,
        .manifest_digest = task->pull.manifest_digest,
        .manifest_media_type = task->manifest.media_type,
        .manifest = task->manifest_bytes.bytes,
        .manifest_size_bytes = task->manifest_bytes.size_bytes,
        .config_digest = config_digest,
        .config = task->config_bytes.bytes,
        .config_size_bytes = task->config_bytes.size_bytes,
        .layers = list_layers(task),
        .layer_count = task->pull.layer_count,
        .files = list_files(task),
        .file_count = task->layer_count,
    };
    return description_write(&image, fd, error);
}
