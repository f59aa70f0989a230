#include "store/cancel.h"
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

/* Held files stay, unless people or fsck take one away. Composing may have been a while ago. */
static bool are_layers_there(struct pull_task *task, struct error *error)
{
    for (size_t i = 0; i < task->layer_count; i++) {
        const struct layer_record *record = &task->layers[i].record;
        char path[BLOB_PATH_SIZE];
        blob_path(BLOB_LAYER, &record->diff_id, path);
        if (!blob_is_whole(task->config->blobdir, BLOB_LAYER, &record->diff_id,
                           record->erofs_size_bytes))
            return error_set(error, ERROR_INTERNAL, "%s is gone, or of another size", path);
    }
    return true;
}

/* Under the locks of all three files, so that no reaper takes a condemned one between
 * its publish and the commit that pardons it. They are condemned first: when the pull
 * ends in between, for whatever reason, the reaper clears away what it published. */
static bool publish_and_commit(struct pull_task *task, struct error *error)
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
    if (!lock || !are_layers_there(task, error) ||
        !is_described_by_another(task, lock, &described.by_another, error) ||
        !catalogue_condemn_unborn(file_lock_session(lock), task->pull.manifest_digest,
                                  described.by_another ? NULL : &task->reference, error))
        return false;
    CRASH_POINT(COMPOSE_CONDEMNED);
    if (!publish(task, lock, task->composed.draft, task->composed.size_bytes, &fsmeta, error) ||
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
    return (task->composed.draft || pull_compose_fsmeta(task, error)) &&
           publish_and_commit(task, error);
}

static bool may_be_of_damage(enum error_code code)
{
    return code != ERROR_PULL_CANCELLED && code != ERROR_CATALOGUE_UNAVAILABLE &&
           code != ERROR_STORAGE_FULL && code != ERROR_LAYER_TOO_LARGE && code != ERROR_PULL_FAILED;
}

/* Whether a file is as it was recorded is not looked at when it is reused: that would be to read
 * it. Composing reads what it needs, and what is wrong there it may call by many names. */
static bool compose_or_mend(struct pull_task *task, struct error *error)
{
    struct error ignored; /* what composing found says more */
    bool found = false;
    if (compose(task, error))
        return true;
    if (!may_be_of_damage(error->code) || !pull_put_damaged_aside(task, &found, &ignored) || !found)
        return false;
    pull_forget_fsmeta(task);
    return catalogue_pull_resolved(task->config->catalogue, task->config->node_id, &task->pull,
                                   error) &&
           pull_fetch_layers(task, NULL, error) && compose(task, error);
}

bool pull_compose(struct pull_task *task, struct error *error)
{
    bool done = compose_or_mend(task, error);
    pull_forget_fsmeta(task);
    return done;
}
