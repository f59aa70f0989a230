#include "store/blob_check.h"
#include "store/crash_point.h"
#include "store/file_lock.h"
#include "store/metrics.h"
#include "store/pull/pull_task.h"

#include <string.h>

static void cleanup_converter_slot(struct converter **slot)
{
    converter_free(*slot);
}

static uint64_t smaller(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

/* All its layers together, as far as they are known by now. */
static bool check_image_size(const struct pull_task *task, struct error *error)
{
    uint64_t limit = task->config->max_image_bytes;
    uint64_t sum = 0;
    for (size_t i = 0; i < task->layer_count; i++)
        if (__builtin_add_overflow(sum, atomic_load(&task->layers[i].tar_bytes), &sum))
            sum = UINT64_MAX;
    return sum <= limit || error_set(error, ERROR_LAYER_TOO_LARGE,
                                     "all layers together are larger than the limit of %llu bytes "
                                     "(--max-image-bytes)",
                                     (unsigned long long)limit);
}

/* From the registry into the converter. */
struct transfer {
    const struct pull_task *task;
    struct task_layer *layer;
    struct converter *converter;
    bool converter_is_gone; /* then only it can say why */
};

static bool feed_converter(void *context, const void *bytes, size_t size_bytes, struct error *error)
{
    struct transfer *transfer = context;
    if (!converter_write(transfer->converter, bytes, size_bytes, error)) {
        transfer->converter_is_gone = true;
        return false;
    }
    atomic_fetch_add(&transfer->layer->received_bytes, size_bytes);
    if (!transfer->task->fetch_blob)
        metric_add(METRIC_PULL_RECEIVED_BYTES, (int64_t)size_bytes);
    atomic_store(&transfer->layer->tar_bytes, converter_tar_bytes(transfer->converter));
    return check_image_size(transfer->task, error);
}

static bool fetch_blob(struct pull_task *task, struct transfer *transfer, enum blob_source from,
                       struct error *error)
{
    const struct manifest_layer *source = transfer->layer->source;
    if (task->fetch_blob)
        return task->fetch_blob(task, source, feed_converter, transfer, error);
    return registry_fetch_blob(task->config->registry, &task->reference, &source->blob, from,
                               feed_converter, transfer, &task->stop, error);
}

static bool fetch_and_convert(struct pull_task *task, struct task_layer *layer,
                              enum blob_source from, int output_fd, struct convert_report *report,
                              struct error *error)
{
    const struct manifest_layer *source = layer->source;
    struct convert_request request = {
        .blob_digest = source->blob.digest,
        .blob_size_bytes = source->blob.size_bytes,
        .diff_id = layer->diff_id,
        .compression = source->compression,
        .limits = convert_limits_default(
            smaller(task->config->max_layer_bytes, task->config->max_image_bytes)),
    };
    request.limits.max_ratio = task->config->max_inflate_ratio;
    if (task->config->convert_timeout_seconds > 0)
        request.limits.deadline_seconds = task->config->convert_timeout_seconds;
    cleanup(cleanup_converter_slot) struct converter *converter =
        converter_start(&request, output_fd, error);
    if (!converter)
        return false;
    converter_set_cancel(converter, &task->stop);

    struct transfer transfer = {.task = task, .layer = layer, .converter = converter};
    atomic_store(&layer->received_bytes, 0);
    atomic_store(&layer->tar_bytes, 0);
    if (!fetch_blob(task, &transfer, from, error) && !transfer.converter_is_gone)
        return false;
    return converter_finish(converter, report, error);
}

/* The converter has read back every byte: others may read the file while it is made durable. That
 * may take as long as the disk likes, and a lock that was lost meanwhile may be another's. */
static bool publish(struct pull_task *task, struct task_layer *layer, struct file_lock *lock,
                    struct blob_draft *draft, struct error *error)
{
    if (!file_lock_check(lock, error))
        return false;
    int draft_fd = blob_draft_open(draft, error);
    if (draft_fd < 0)
        return false;
    pull_layer_is_complete(task, layer, draft_fd);
    if (!blob_draft_sync(draft, error) || !file_lock_check(lock, error) ||
        !blob_draft_publish(draft, error))
        return false;
    pull_layer_is_published(task, layer);
    return true;
}

/* Killed before the publish: a draft, which any node removes that takes this one for dead. Killed
 * after it: a whole file that nobody knows, which the next pull writes anew. */
static bool build_from(struct pull_task *task, struct task_layer *layer, enum blob_source from,
                       struct file_lock *lock, struct error *error)
{
    cleanup_draft struct blob_draft *draft =
        blob_draft_new(task->config->blobdir, BLOB_LAYER, &layer->diff_id, error);
    struct convert_report report;
    if (!draft || !fetch_and_convert(task, layer, from, blob_draft_fd(draft), &report, error))
        return false;
    atomic_store(&layer->tar_bytes, report.tar_size_bytes);
    layer->record = (struct layer_record){
        .diff_id = layer->diff_id,
        .erofs_size_bytes = (int64_t)report.erofs_size_bytes,
        .erofs_digest = report.erofs_digest,
        .tar_size_bytes = (int64_t)report.tar_size_bytes,
    };
    if (!check_image_size(task, error) || !publish(task, layer, lock, draft, error))
        return false;
    layer->record.allocated_bytes = blob_draft_allocated_bytes(draft);
    CRASH_POINT(LAYER_PUBLISHED);
    if (!catalogue_add_layer(file_lock_session(lock), task->pull.id, &layer->record, false, error))
        return false;
    CRASH_POINT(LAYER_CATALOGUED);
    return true;
}

static bool take_reused(struct pull_task *task, struct task_layer *layer, struct file_lock *lock,
                        enum layer_hold hold, struct error *error)
{
    if (hold == LAYER_CONDEMNED)
        CRASH_POINT(RESCUE_FOUND);
    if (!catalogue_add_layer(file_lock_session(lock), task->pull.id, &layer->record, true, error))
        return false;
    if (hold == LAYER_CONDEMNED)
        CRASH_POINT(RESCUE_DONE);
    pull_layer_is_complete(task, layer, -1);
    return true;
}

/* Whether the file is there with its size; then its record is complete. */
static bool is_whole(struct pull_task *task, struct layer_record *record, bool *whole,
                     struct error *error)
{
    struct blob_state state;
    if (!blob_look_up(task->config->blobdir, BLOB_LAYER, &record->diff_id, &state, error))
        return false;
    *whole = state.is_file && state.size_bytes == record->erofs_size_bytes;
    record->allocated_bytes = state.allocated_bytes;
    return true;
}

/* A file that the catalogue lost, and a description remembers: good if its bytes are right. */
static bool recognise(struct pull_task *task, struct task_layer *layer, bool *whole,
                      struct error *error)
{
    size_t i = 0;
    while (i < task->remembered_count &&
           !digest_equal(&task->remembered[i].diff_id, &layer->diff_id))
        i++;
    if (i == task->remembered_count)
        return true;
    const struct blob_record record = {.id = {BLOB_LAYER, layer->diff_id},
                                       .size_bytes = task->remembered[i].erofs_size_bytes,
                                       .digest = task->remembered[i].erofs_digest};
    struct blob_reading reading = {.bytes = true, .stop = &task->stop};
    enum blob_condition condition;
    const char *detail = NULL;
    cleanup_arena struct arena arena = {0};
    if (!blob_check(task->config->blobdir, &record, &reading, &arena, &condition, &detail, error))
        return false;
    if (atomic_load(&task->stop) || condition != BLOB_IS_WHOLE)
        return true;
    layer->record = task->remembered[i];
    return is_whole(task, &layer->record, whole, error);
}

/* Whether that is found of the bytes that came, and not of the way here or of this node. */
static bool is_about_bytes(enum error_code code)
{
    return code == ERROR_DIGEST_MISMATCH || code == ERROR_LAYER_TOO_LARGE ||
           code == ERROR_UNSUPPORTED_LAYER;
}

/* A mirror that serves wrong bytes does not stand in the way of the registry's right ones. They
 * may be refused for what they are before their digest is known. */
static bool build_layer(struct pull_task *task, struct task_layer *layer, struct file_lock *lock,
                        struct error *error)
{
    if (build_from(task, layer, BLOB_FROM_MIRRORS, lock, error))
        return true;
    if (!is_about_bytes(error->code) || task->fetch_blob ||
        !registry_has_mirror(task->config->registry, &task->reference))
        return false;
    return build_from(task, layer, BLOB_FROM_REGISTRY, lock, error);
}

/* Is the layer's file there, and good enough? Then it is held for the pull. */
static bool reuse(struct pull_task *task, struct task_layer *layer, struct file_lock *lock,
                  bool *reused, struct error *error)
{
    struct catalogue_session *session = file_lock_session(lock);
    enum layer_hold hold;
    bool whole = false;
    if (!catalogue_hold_layer(session, task->pull.id, &layer->diff_id, &hold, &layer->record,
                              error) ||
        (hold != LAYER_MISSING && !is_whole(task, &layer->record, &whole, error)) ||
        (hold == LAYER_MISSING && !recognise(task, layer, &whole, error)))
        return false;
    CRASH_POINT(LAYER_HELD);
    bool may_reuse = hold == LAYER_BUILT || !task->pull.force;
    *reused = may_reuse && whole;
    if (!*reused)
        return true;
    atomic_store(&layer->tar_bytes, (uint64_t)layer->record.tar_size_bytes);
    return check_image_size(task, error) && take_reused(task, layer, lock, hold, error);
}

static struct file_lock *lock_layer(struct pull_task *task, const struct task_layer *layer,
                                    struct error *error)
{
    const struct blob_id file = {BLOB_LAYER, layer->diff_id};
    return file_lock_acquire(task->config->catalogue, &file, 1, &task->stop, error);
}

/* With a slot of the node's budget in hand, or *needs_slot. Who waits for a slot holds no
 * lock, for another node may have one free; and who waits for a lock holds no slot, but for
 * the short time in which another node got the lock first. */
static bool reuse_or_build(struct pull_task *task, struct task_layer *layer, bool has_slot,
                           bool *needs_slot, bool *reused, struct error *error)
{
    cleanup_file_lock struct file_lock *lock = lock_layer(task, layer, error);
    struct layer_budget *budget = task->config->layer_budget;
    *needs_slot = false;
    if (!lock || !reuse(task, layer, lock, reused, error))
        return false;
    if (*reused)
        return true;
    if (!has_slot && !layer_budget_try(budget, &task->share)) {
        *needs_slot = true;
        return true;
    }
    bool built = build_layer(task, layer, lock, error);
    if (!has_slot)
        layer_budget_give(budget, &task->share);
    return built;
}

static bool make_layer(struct pull_task *task, struct task_layer *layer, bool *reused,
                       struct error *error)
{
    struct layer_budget *budget = task->config->layer_budget;
    bool needs_slot = false;
    if (!reuse_or_build(task, layer, false, &needs_slot, reused, error))
        return false;
    if (!needs_slot)
        return true;
    if (!layer_budget_take(budget, &task->share, &task->stop, error))
        return false;
    bool made = reuse_or_build(task, layer, true, &needs_slot, reused, error);
    layer_budget_give(budget, &task->share);
    return made;
}

bool pull_layer(struct pull_task *task, struct task_layer *layer, struct error *error)
{
    int64_t begun_ms = pull_step_begin();
    bool reused = false;
    bool done = make_layer(task, layer, &reused, error);

    char digest[DIGEST_TEXT_SIZE];
    digest_format(&layer->source->blob.digest, digest);
    if (done)
        metric_add(METRIC_PULL_LAYERS, 1, reused ? LAYER_RESULT_REUSED : LAYER_RESULT_BUILT);
    if (done)
        pull_step_done(task, reused ? "layer reused" : "layer built", begun_ms, "%s, %llu bytes",
                       digest, (unsigned long long)layer->source->blob.size_bytes);
    else if (error->code != ERROR_PULL_CANCELLED)
        (void)error_context(error, "layer %s of %s", digest, task->pull.reference);
    return done;
}
