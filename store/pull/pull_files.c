/* The files that an image has besides its layers: fsmeta, vmdk and description. */
#include "store/cancel.h"
#include "store/composer.h"
#include "store/convert.h"
#include "store/crash_point.h"
#include "store/described.h"
#include "store/file_digest.h"
#include "store/pull/pull_task.h"
#include "store/vmdk.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned compose_deadline(const struct pull_task *task)
{
    unsigned given = task->config->convert_timeout_seconds;
    return given > 0 ? given
                     : convert_limits_default(task->config->max_layer_bytes).deadline_seconds;
}

static bool open_layers(struct pull_task *task, struct error *error)
{
    struct composed *composed = &task->composed;
    composed->layer_fds =
        arena_alloc_array(&task->arena, task->layer_count, sizeof(*composed->layer_fds));
    for (size_t i = 0; i < task->layer_count; i++, composed->layer_fd_count++) {
        composed->layer_fds[i] = pull_open_layer(task, &task->layers[i], error);
        if (composed->layer_fds[i] < 0)
            return false;
    }
    return true;
}

static const struct compose_layer *list_layers(struct pull_task *task)
{
    size_t count = task->manifest.layer_count;
    struct compose_layer *layers = arena_alloc_array(&task->arena, count, sizeof(*layers));
    for (size_t position = 0; position < count; position++) {
        size_t index = task->layer_of_position[position];
        layers[position] = (struct compose_layer){
            .diff_id = task->layers[index].diff_id,
            .fd = task->composed.layer_fds[index],
            .size_bytes = (uint64_t)task->layers[index].record.erofs_size_bytes,
        };
    }
    return layers;
}

static struct blob_draft *new_draft(struct pull_task *task, enum blob_kind kind,
                                    struct error *error)
{
    return blob_draft_new(task->config->blobdir, kind, &task->manifest_digest, error);
}

/* Its bytes are written. */
static bool finish_file(struct pull_task *task, struct image_file *file, struct error *error)
{
    struct digest digest;
    char *text = arena_alloc(&task->arena, DIGEST_TEXT_SIZE);
    if (!cancel_check(&task->stop, error) ||
        !file_digest_of(blob_draft_fd(file->draft), file->size_bytes, &digest, error))
        return false;
    digest_format(&digest, text);
    file->digest = text;
    return blob_draft_sync(file->draft, error);
}

static bool draft_fsmeta(struct pull_task *task, struct error *error)
{
    struct image_file *fsmeta = &task->composed.fsmeta;
    struct compose_result result;
    fsmeta->draft = new_draft(task, BLOB_FSMETA, error);
    if (!fsmeta->draft || !composer_run(list_layers(task), task->manifest.layer_count,
                                        &task->manifest_digest, compose_deadline(task), &task->stop,
                                        blob_draft_fd(fsmeta->draft), &result, error))
        return false;
    fsmeta->size_bytes = result.fsmeta_size_bytes;
    CRASH_POINT(COMPOSE_DRAFTED);
    return finish_file(task, fsmeta, error);
}

static const char *path_from_vmdk(struct pull_task *task, enum blob_kind kind,
                                  const struct digest *key)
{
    char path[BLOB_PATH_SIZE];
    blob_path(kind, key, path);
    return arena_printf(&task->arena, "../%s", path);
}

static bool draft_vmdk(struct pull_task *task, struct error *error)
{
    struct image_file *vmdk = &task->composed.vmdk;
    size_t count = task->manifest.layer_count;
    struct vmdk_extent *extents = arena_alloc_array(&task->arena, count + 1, sizeof(*extents));
    extents[0] = (struct vmdk_extent){path_from_vmdk(task, BLOB_FSMETA, &task->manifest_digest),
                                      task->composed.fsmeta.size_bytes};
    for (size_t position = 0; position < count; position++) {
        const struct task_layer *layer = &task->layers[task->layer_of_position[position]];
        extents[position + 1] =
            (struct vmdk_extent){path_from_vmdk(task, BLOB_LAYER, &layer->diff_id),
                                 (uint64_t)layer->record.erofs_size_bytes};
    }
    vmdk->draft = new_draft(task, BLOB_VMDK, error);
    return vmdk->draft &&
           vmdk_write(extents, count + 1, blob_draft_fd(vmdk->draft), &vmdk->size_bytes, error) &&
           finish_file(task, vmdk, error);
}

static bool draft_description(struct pull_task *task, struct error *error)
{
    struct digest key = described_key(task->pull.reference);
    struct blob_draft *draft = blob_draft_new(task->config->blobdir, BLOB_MANIFEST, &key, error);
    task->composed.description = draft;
    return draft && pull_describe_image(task, blob_draft_fd(draft), error) &&
           blob_draft_sync(draft, error);
}

void pull_compose_files(struct pull_task *task)
{
    struct composed *composed = &task->composed;
    pull_forget_files(task);
    bool done = open_layers(task, &composed->error) && draft_fsmeta(task, &composed->error) &&
                draft_vmdk(task, &composed->error) && draft_description(task, &composed->error);
    composed->state = done ? COMPOSED : COMPOSING_FAILED;
}

/* Opened anew, by its name: what a network file system remembers of a name may be old. */
static bool is_layer_current(struct pull_task *task, const struct task_layer *layer,
                             int composed_fd, struct error *error)
{
    struct stat named;
    struct stat composed;
    cleanup_fd int fd = blob_open(task->config->blobdir, BLOB_LAYER, &layer->diff_id, error);
    if (fd < 0)
        return false;
    char path[BLOB_PATH_SIZE];
    blob_path(BLOB_LAYER, &layer->diff_id, path);
    if (fstat(fd, &named) < 0 || fstat(composed_fd, &composed) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot look at \"%s\"", path);
    return (named.st_dev == composed.st_dev && named.st_ino == composed.st_ino &&
            named.st_size == layer->record.erofs_size_bytes) ||
           error_set(error, ERROR_INTERNAL, "\"%s\" is another since the image was composed of it",
                     path);
}

bool pull_are_files_current(struct pull_task *task, struct error *error)
{
    const struct composed *composed = &task->composed;
    const struct blob_draft *drafts[] = {composed->fsmeta.draft, composed->vmdk.draft,
                                         composed->description};
    for (size_t i = 0; i < composed->layer_fd_count; i++)
        if (!is_layer_current(task, &task->layers[i], composed->layer_fds[i], error))
            return false;
    for (size_t i = 0; i < sizeof(drafts) / sizeof(drafts[0]); i++) {
        bool there = true;
        if (drafts[i] && !blob_draft_look(drafts[i], &there, error))
            return false;
        if (!there)
            return error_set(
                error, ERROR_INTERNAL,
                "what was composed is gone from tmp/: another node took this one for dead");
    }
    return true;
}

void pull_forget_files(struct pull_task *task)
{
    struct composed *composed = &task->composed;
    for (size_t i = 0; i < composed->layer_fd_count; i++)
        close(composed->layer_fds[i]);
    blob_draft_free(composed->fsmeta.draft);
    blob_draft_free(composed->vmdk.draft);
    blob_draft_free(composed->description);
    *composed = (struct composed){0};
}
