#include "store/file_lock.h"
#include "store/metrics.h"
#include "store/pull/pull_task.h"

#include <string.h>

static void cleanup_draft_slot(struct blob_draft **slot)
{
    blob_draft_free(*slot);
}

static void cleanup_converter_slot(struct converter **slot)
{
    converter_free(*slot);
}

/* From the registry into the converter. */
struct transfer {
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
    metric_add(METRIC_PULL_RECEIVED_BYTES, (int64_t)size_bytes);
    atomic_store(&transfer->layer->tar_bytes, converter_tar_bytes(transfer->converter));
    return true;
}

static bool fetch_and_convert(struct pull_task *task, struct task_layer *layer, int output_fd,
                              struct convert_report *report, struct error *error)
{
    const struct manifest_layer *source = layer->source;
    const struct convert_request request = {
        .blob_digest = source->blob.digest,
        .blob_size_bytes = source->blob.size_bytes,
        .diff_id = layer->diff_id,
        .compression = source->compression,
        .limits = convert_limits_default(task->config->max_layer_bytes),
    };
    cleanup(cleanup_converter_slot) struct converter *converter =
        converter_start(&request, output_fd, error);
    if (!converter)
        return false;
    converter_set_cancel(converter, &task->stop);

    struct transfer transfer = {.layer = layer, .converter = converter};
    atomic_store(&layer->received_bytes, 0);
    if (!registry_fetch_blob(task->config->registry, &task->reference, &source->blob,
                             feed_converter, &transfer, &task->stop, error) &&
        !transfer.converter_is_gone)
        return false;
    return converter_finish(converter, report, error);
}

/* Killed before the publish: a draft, which the next start of any node removes. Killed
 * after it: a whole file that nobody knows, which the next pull writes anew. */
static bool build_layer(struct pull_task *task, struct task_layer *layer, struct file_lock *lock,
                        struct error *error)
{
    cleanup(cleanup_draft_slot) struct blob_draft *draft =
        blob_draft_new(task->config->blobdir, BLOB_LAYER, &layer->diff_id, error);
    struct convert_report report;
    if (!draft || !fetch_and_convert(task, layer, blob_draft_fd(draft), &report, error) ||
        !file_lock_check(lock, error) || !blob_draft_publish(draft, error))
        return false;
    layer->record = (struct layer_record){
        .diff_id = layer->diff_id,
        .erofs_size_bytes = (int64_t)report.erofs_size_bytes,
        .erofs_digest = report.erofs_digest,
        .tar_size_bytes = (int64_t)report.tar_size_bytes,
    };
    return catalogue_add_layer(file_lock_session(lock), task->pull.id, &layer->record, false,
                               error);
}

static bool hold_or_build(struct pull_task *task, struct task_layer *layer, struct file_lock *lock,
                          bool *reused, struct error *error)
{
    struct catalogue_session *session = file_lock_session(lock);
    enum layer_hold hold;
    if (!catalogue_hold_layer(session, task->pull.id, &layer->diff_id, &hold, &layer->record,
                              error))
        return false;
    bool may_reuse = hold == LAYER_BUILT || (hold != LAYER_MISSING && !task->pull.force);
    *reused = may_reuse && blob_is_whole(task->config->blobdir, BLOB_LAYER, &layer->diff_id,
                                         layer->record.erofs_size_bytes);
    return *reused ? catalogue_add_layer(session, task->pull.id, &layer->record, true, error)
                   : build_layer(task, layer, lock, error);
}

bool pull_layer(struct pull_task *task, struct task_layer *layer, struct error *error)
{
    int64_t begun_ms = pull_step_begin();
    bool reused = false;
    const struct blob_id file = {BLOB_LAYER, layer->diff_id};
    cleanup_file_lock struct file_lock *lock =
        file_lock_acquire(task->config->catalogue, &file, 1, &task->stop, error);
    bool done = lock && hold_or_build(task, layer, lock, &reused, error);

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
