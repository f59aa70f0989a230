#include "store/composer.h"
#include "store/convert.h"
#include "store/crash_point.h"
#include "store/pull/pull_task.h"

#include <unistd.h>

static unsigned compose_deadline(const struct pull_task *task)
{
    unsigned given = task->config->convert_timeout_seconds;
    return given > 0 ? given
                     : convert_limits_default(task->config->max_layer_bytes).deadline_seconds;
}

/* The layer files of the image, one fd for each distinct layer. */
struct layer_files {
    size_t count;
    int *fds;
};

static void close_layer_files(const struct layer_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        close(files->fds[i]);
}

static bool open_layer_files(struct pull_task *task, struct layer_files *files, struct error *error)
{
    files->fds = arena_alloc_array(&task->arena, task->layer_count, sizeof(*files->fds));
    for (size_t i = 0; i < task->layer_count; i++, files->count++) {
        files->fds[i] = pull_open_layer(task, &task->layers[i], error);
        if (files->fds[i] < 0)
            return false;
    }
    return true;
}

static bool run_composer(struct pull_task *task, const struct layer_files *files,
                         struct error *error)
{
    struct composed *composed = &task->composed;
    size_t count = task->manifest.layer_count;
    struct compose_layer *layers = arena_alloc_array(&task->arena, count, sizeof(*layers));
    for (size_t position = 0; position < count; position++) {
        size_t index = task->layer_of_position[position];
        layers[position] = (struct compose_layer){
            .diff_id = task->layers[index].diff_id,
            .fd = files->fds[index],
            .size_bytes = (uint64_t)task->layers[index].record.erofs_size_bytes,
        };
    }
    composed->draft =
        blob_draft_new(task->config->blobdir, BLOB_FSMETA, &task->manifest_digest, error);
    struct compose_result result;
    if (!composed->draft ||
        !composer_run(layers, count, &task->manifest_digest, compose_deadline(task), &task->stop,
                      blob_draft_fd(composed->draft), &result, error))
        return false;
    composed->size_bytes = result.fsmeta_size_bytes;
    CRASH_POINT(COMPOSE_DRAFTED);
    return true;
}

bool pull_compose_fsmeta(struct pull_task *task, struct error *error)
{
    struct layer_files files = {0};
    bool done = open_layer_files(task, &files, error) && run_composer(task, &files, error);
    close_layer_files(&files);
    if (!done)
        pull_forget_fsmeta(task);
    return done;
}

void pull_compose_ahead(struct pull_task *task)
{
    struct error ignored; /* it is found again, unless it was mended meanwhile */
    (void)pull_compose_fsmeta(task, &ignored);
}

void pull_forget_fsmeta(struct pull_task *task)
{
    blob_draft_free(task->composed.draft);
    task->composed.draft = NULL;
}
