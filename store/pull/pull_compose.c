#include "store/cancel.h"
#include "store/composer.h"
#include "store/convert.h"
#include "store/crash_point.h"
#include "store/described.h"
#include "store/file_digest.h"
#include "store/file_lock.h"
#include "store/pull/pull_task.h"
#include "store/vmdk.h"

static void cleanup_draft_slot(struct blob_draft **slot)
{
    blob_draft_free(*slot);
}

/* The layer files of the image, one fd for each distinct layer. */
struct layer_files {
    size_t count;
    int *fds;
};

static void close_layer_files(const struct layer_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        if (files->fds[i] >= 0)
            close(files->fds[i]);
}

static bool open_layer_files(struct pull_task *task, struct layer_files *files, struct error *error)
{
    files->fds = arena_alloc_array(&task->arena, task->layer_count, sizeof(*files->fds));
    for (; files->count < task->layer_count; files->count++) {
        files->fds[files->count] = blob_open(task->config->blobdir, BLOB_LAYER,
                                             &task->layers[files->count].diff_id, error);
        if (files->fds[files->count] < 0)
            return false;
    }
    return true;
}

/* What was published: its sizes, and its digest as text. */
struct published {
    int64_t size_bytes;
    int64_t allocated_bytes;
    const char *digest;
};

static bool publish(struct pull_task *task, struct file_lock *lock, struct blob_draft *draft,
                    uint64_t size_bytes, struct published *published, struct error *error)
{
    struct digest digest;
    char *text = arena_alloc(&task->arena, DIGEST_TEXT_SIZE);
    if (!file_digest_of(blob_draft_fd(draft), size_bytes, &digest, error))
        return false;
    digest_format(&digest, text);
    if (!file_lock_check(lock, error) || !blob_draft_publish(draft, error))
        return false;
    *published = (struct published){(int64_t)size_bytes, blob_draft_allocated_bytes(draft), text};
    return true;
}

static unsigned compose_deadline(const struct pull_task *task)
{
    unsigned given = task->config->convert_timeout_seconds;
    return given > 0 ? given
                     : convert_limits_default(task->config->max_layer_bytes).deadline_seconds;
}

static bool publish_fsmeta(struct pull_task *task, struct file_lock *lock,
                           const struct layer_files *files, struct published *published,
                           struct error *error)
{
    cleanup(cleanup_draft_slot) struct blob_draft *draft =
        blob_draft_new(task->config->blobdir, BLOB_FSMETA, &task->manifest_digest, error);
    if (!draft)
        return false;
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
    struct compose_result result;
    return composer_run(layers, count, &task->manifest_digest, compose_deadline(task), &task->stop,
                        blob_draft_fd(draft), &result, error) &&
           publish(task, lock, draft, result.fsmeta_size_bytes, published, error);
}

static const char *path_from_vmdk(struct pull_task *task, enum blob_kind kind,
                                  const struct digest *key)
{
    char path[BLOB_PATH_SIZE];
    blob_path(kind, key, path);
    return arena_printf(&task->arena, "../%s", path);
}

static bool publish_vmdk(struct pull_task *task, struct file_lock *lock,
                         const struct published *fsmeta, struct published *published,
                         struct error *error)
{
    cleanup(cleanup_draft_slot) struct blob_draft *draft =
        blob_draft_new(task->config->blobdir, BLOB_VMDK, &task->manifest_digest, error);
    if (!draft)
        return false;
    size_t count = task->manifest.layer_count;
    struct vmdk_extent *extents = arena_alloc_array(&task->arena, count + 1, sizeof(*extents));
    extents[0] = (struct vmdk_extent){path_from_vmdk(task, BLOB_FSMETA, &task->manifest_digest),
                                      (uint64_t)fsmeta->size_bytes};
    for (size_t position = 0; position < count; position++) {
        const struct task_layer *layer = &task->layers[task->layer_of_position[position]];
        extents[position + 1] =
            (struct vmdk_extent){path_from_vmdk(task, BLOB_LAYER, &layer->diff_id),
                                 (uint64_t)layer->record.erofs_size_bytes};
    }
    uint64_t size_bytes = 0;
    return vmdk_write(extents, count + 1, blob_draft_fd(draft), &size_bytes, error) &&
           publish(task, lock, draft, size_bytes, published, error);
}

static bool write_description(struct pull_task *task, struct file_lock *lock,
                              const struct digest *key, struct error *error)
{
    cleanup(cleanup_draft_slot) struct blob_draft *draft =
        blob_draft_new(task->config->blobdir, BLOB_MANIFEST, key, error);
    return draft && pull_describe_image(task, blob_draft_fd(draft), error) &&
           file_lock_check(lock, error) && blob_draft_publish(draft, error);
}

/* One file describes a reference, which may be cached for several platforms: that of the node's own
 * platform if there is one, else the first. */
static bool is_described_by_another(struct pull_task *task, struct file_lock *lock, bool *another,
                                    struct error *error)
{
    *another = false;
    return platform_equal(&task->platform, task->config->default_platform) ||
           described_is_current(file_lock_session(lock), task->config->blobdir,
                                task->pull.reference, &task->platform, another, error);
}

/* The description: it stays as it is, or is written. */
struct described {
    bool by_another; /* platform of the reference */
    struct blob_state state;
};

static bool publish_description(struct pull_task *task, struct file_lock *lock,
                                const struct digest *key, struct described *described,
                                struct error *error)
{
    return (described->by_another || write_description(task, lock, key, error)) &&
           blob_look_up(task->config->blobdir, BLOB_MANIFEST, key, &described->state, error);
}

static int64_t compressed_size_bytes(const struct manifest_document *manifest)
{
    int64_t sum = 0;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (__builtin_add_overflow(sum, (int64_t)manifest->layers[i].blob.size_bytes, &sum))
            return INT64_MAX;
    return sum;
}

static bool commit(struct pull_task *task, struct file_lock *lock, const struct published *fsmeta,
                   const struct published *vmdk, const struct described *described,
                   struct error *error)
{
    char config_digest[DIGEST_TEXT_SIZE];
    digest_format(&task->config_bytes.digest, config_digest);
    const struct image_record image = {
        .reference = &task->reference,
        .index_digest = task->is_from_index ? task->index_digest : NULL,
        .manifest_digest = task->pull.manifest_digest,
        .manifest_media_type = task->manifest.media_type,
        .manifest_bytes = task->manifest_bytes.bytes,
        .manifest_size_bytes = task->manifest_bytes.size_bytes,
        .config_digest = config_digest,
        .config_bytes = task->config_bytes.bytes,
        .config_size_bytes = task->config_bytes.size_bytes,
        .config_detail_json =
            image_config_detail_json(&task->arena, &task->image_config, &task->config_bytes.digest),
        .platform = &task->platform,
        .size_bytes = compressed_size_bytes(&task->manifest),
        .fsmeta_size_bytes = fsmeta->size_bytes,
        .fsmeta_digest = fsmeta->digest,
        .vmdk_size_bytes = vmdk->size_bytes,
        .vmdk_digest = vmdk->digest,
        .allocated_bytes = fsmeta->allocated_bytes + vmdk->allocated_bytes,
        .description_allocated_bytes = described->state.allocated_bytes,
        .is_described_by_another = described->by_another,
        .layers = task->pull.layers,
        .layer_count = task->pull.layer_count,
    };
    return catalogue_pull_done(file_lock_session(lock), task->config->node_id, &task->pull, &image,
                               &task->again, error);
}

/* Composing takes its time; the description, which may replace another, and the commit do not. */
/* Under the locks of all three files, so that no reaper takes a condemned one between
 * its publish and the commit that pardons it. They are condemned first: when the pull
 * ends in between, for whatever reason, the reaper clears away what it published. */
static bool publish_and_commit(struct pull_task *task, const struct layer_files *files,
                               struct error *error)
{
    const struct blob_id locked[] = {
        {BLOB_FSMETA, task->manifest_digest},
        {BLOB_MANIFEST, described_key(task->pull.reference)},
    };
    cleanup_file_lock struct file_lock *lock =
        file_lock_acquire(task->config->catalogue, locked, 2, &task->stop, error);
    struct published fsmeta;
    struct published vmdk;
    struct described described;
    if (!lock || !is_described_by_another(task, lock, &described.by_another, error) ||
        !catalogue_condemn_unborn(file_lock_session(lock), task->pull.manifest_digest,
                                  described.by_another ? NULL : &task->reference, error))
        return false;
    CRASH_POINT(COMPOSE_CONDEMNED);
    if (!publish_fsmeta(task, lock, files, &fsmeta, error) ||
        !publish_vmdk(task, lock, &fsmeta, &vmdk, error) || !cancel_check(&task->stop, error) ||
        !publish_description(task, lock, &locked[1].key, &described, error))
        return false;
    CRASH_POINT(COMPOSE_PUBLISHED);
    return commit(task, lock, &fsmeta, &vmdk, &described, error);
}

static bool compose(struct pull_task *task, struct error *error)
{
    if (!catalogue_pull_composing(task->config->catalogue, task->config->node_id, task->pull.id,
                                  error))
        return false;
    struct layer_files files = {0};
    bool done = open_layer_files(task, &files, error) && publish_and_commit(task, &files, error);
    close_layer_files(&files);
    return done;
}

static bool may_be_of_damage(enum error_code code)
{
    return code != ERROR_PULL_CANCELLED && code != ERROR_CATALOGUE_UNAVAILABLE &&
           code != ERROR_STORAGE_FULL && code != ERROR_LAYER_TOO_LARGE && code != ERROR_PULL_FAILED;
}

/* Whether a file is as it was recorded is not looked at when it is reused: that would be to read
 * it. Composing reads what it needs, and what is wrong there it may call by many names. */
bool pull_compose(struct pull_task *task, struct error *error)
{
    struct error ignored; /* what composing found says more */
    bool found = false;
    if (compose(task, error))
        return true;
    if (!may_be_of_damage(error->code) || !pull_put_damaged_aside(task, &found, &ignored) || !found)
        return false;
    return catalogue_pull_resolved(task->config->catalogue, task->config->node_id, &task->pull,
                                   error) &&
           pull_fetch_layers(task, error) && compose(task, error);
}
