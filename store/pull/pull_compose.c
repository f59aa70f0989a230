#include "store/cancel.h"
#include "store/crash_point.h"
#include "store/described.h"
#include "store/file_lock.h"
#include "store/pull/pull_task.h"

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

static int64_t compressed_size_bytes(const struct manifest_document *manifest)
{
    int64_t sum = 0;
    for (size_t i = 0; i < manifest->layer_count; i++)
        if (__builtin_add_overflow(sum, (int64_t)manifest->layers[i].blob.size_bytes, &sum))
            return INT64_MAX;
    return sum;
}

/* `description`: what stands there of the reference. */
static bool commit(struct pull_task *task, struct file_lock *lock, bool is_described_by_another,
                   const struct blob_state *description, struct error *error)
{
    const struct composed *composed = &task->composed;
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
        .fsmeta_size_bytes = (int64_t)composed->fsmeta.size_bytes,
        .fsmeta_digest = composed->fsmeta.digest,
        .vmdk_size_bytes = (int64_t)composed->vmdk.size_bytes,
        .vmdk_digest = composed->vmdk.digest,
        .allocated_bytes = blob_draft_allocated_bytes(composed->fsmeta.draft) +
                           blob_draft_allocated_bytes(composed->vmdk.draft),
        .description_allocated_bytes = description->allocated_bytes,
        .is_described_by_another = is_described_by_another,
        .layers = task->pull.layers,
        .layer_count = task->pull.layer_count,
    };
    return catalogue_pull_done(file_lock_session(lock), task->config->node_id, &task->pull, &image,
                               &task->again, error);
}

/* Each gets its name under a lock that was just looked at: a rename may take long, too. The last,
 * the description, stays as it is when another platform of the reference is described. */
static bool publish(struct pull_task *task, struct file_lock *lock, bool is_described_by_another,
                    struct error *error)
{
    const struct composed *composed = &task->composed;
    struct blob_draft *const drafts[] = {composed->fsmeta.draft, composed->vmdk.draft,
                                         composed->description};
    const size_t count = is_described_by_another ? 2 : 3;
    if (!cancel_check(&task->stop, error))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!file_lock_check(lock, error) || !blob_draft_give_name(drafts[i], error))
            return false;
    for (size_t i = 0; i < count; i++)
        if (!blob_draft_keep_name(drafts[i], error))
            return false;
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
    bool by_another = false;
    struct blob_state description;
    if (!lock || !is_described_by_another(task, lock, &by_another, error) ||
        !catalogue_condemn_unborn(file_lock_session(lock), task->pull.manifest_digest,
                                  by_another ? NULL : &task->reference, error))
        return false;
    CRASH_POINT(COMPOSE_CONDEMNED);
    if (!pull_are_files_current(task, error) || !publish(task, lock, by_another, error) ||
        !blob_look_up(task->config->blobdir, BLOB_MANIFEST, &locked[1].key, &description, error))
        return false;
    CRASH_POINT(COMPOSE_PUBLISHED);
    return commit(task, lock, by_another, &description, error);
}

static bool compose(struct pull_task *task, struct error *error)
{
    if (!catalogue_pull_composing(task->config->catalogue, task->config->node_id, task->pull.id,
                                  error))
        return false;
    if (task->composed.state == NOT_COMPOSED)
        pull_compose_files(task);
    if (task->composed.state == COMPOSING_FAILED) {
        *error = task->composed.error;
        return false;
    }
    return publish_and_commit(task, error);
}

static bool may_be_of_damage(enum error_code code)
{
    return code != ERROR_PULL_CANCELLED && code != ERROR_CATALOGUE_UNAVAILABLE &&
           code != ERROR_STORAGE_FULL && code != ERROR_LAYER_TOO_LARGE && code != ERROR_PULL_FAILED;
}

/* *may: a layer file is another since composing began, or a draft is gone, or a layer was damaged
 * and is put aside. What composing found says more than what ends that search, unless it is an
 * outage or a cancel. */
static bool may_compose_again(struct pull_task *task, bool *may, struct error *error)
{
    struct error looking = {0};
    *may = !pull_are_files_current(task, &looking);
    if (!pull_put_damaged_aside(task, may, &looking) &&
        looking.code == ERROR_CATALOGUE_UNAVAILABLE) {
        *error = looking;
        return false;
    }
    return cancel_check(&task->stop, error);
}

/* Whether a file is as it was recorded is not looked at when it is reused: that would be to read
 * it. Composing reads what it needs, and what is wrong there it may call by many names. */
static bool compose_or_mend(struct pull_task *task, struct error *error)
{
    enum { ROUNDS_MAX = 3 };
    for (int round = 1; !compose(task, error); round++) {
        bool may = false;
        if (round == ROUNDS_MAX || !may_be_of_damage(error->code) ||
            !may_compose_again(task, &may, error) || !may)
            return false;
        pull_forget_files(task);
        if (!catalogue_pull_resolved(task->config->catalogue, task->config->node_id, &task->pull,
                                     error) ||
            !pull_fetch_layers(task, NULL, error))
            return false;
    }
    return true;
}

bool pull_compose(struct pull_task *task, struct error *error)
{
    bool done = compose_or_mend(task, error);
    pull_forget_files(task);
    return done;
}
