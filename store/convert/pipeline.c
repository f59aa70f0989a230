#include "store/convert/pipeline.h"

#include "store/compose.h"
#include "store/convert/flush.h"
#include "store/convert/growth.h"
#include "store/convert/inflate.h"
#include "store/convert/readback.h"
#include "store/convert/ring.h"
#include "store/layer.h"

#include <pthread.h>
#include <stdatomic.h>

/* PATH_MAX holds 2048 one-letter components: nothing deeper can be opened by path. */
enum { MAX_PATH_DEPTH = 2048 };

/* How far verifier and flusher may be behind: enough that none of them waits for the other on a
 * disk that is faster than inflating, and what a disk takes within a second. */
enum { OUTPUT_LEAD_BYTES = 64 << 20 };

struct pipeline {
    const struct convert_request *request;
    _Atomic uint64_t *tar_bytes;
    pthread_barrier_t arrived; /* the threads are up */
    pthread_barrier_t go;      /* pipeline_run() was called */
    pthread_t reader_thread;
    pthread_t inflater_thread;
    pthread_t verifier_thread;
    pthread_t flusher_thread;
    struct ring *blob_ring;   /* reader to inflater */
    struct ring *tar_ring;    /* inflater to builder */
    struct growth *to_verify; /* builder to verifier */
    struct growth *to_flush;  /* builder to flusher */
    int output_fd;            /* before pipeline_run(): -1 */

    /* The reader's, until it is joined. */
    int input_fd;
    struct digest_state *blob_state;
    uint64_t blob_bytes;
    struct error read_error;

    /* The inflater's, until the tar ring has ended or it is joined. */
    struct inflate *inflate;
    struct error inflate_error;

    /* The builder's. */
    struct digest_state *tar_state;

    /* The verifier's, until it is joined or has abandoned. */
    struct digest erofs_digest;
    struct error verify_error; /* ERROR_NONE: all was read */

    /* The flusher's, until it is joined or has abandoned. */
    struct error flush_error;
};

static void wait_for_go(struct pipeline *pipeline)
{
    pthread_barrier_wait(&pipeline->arrived);
    pthread_barrier_wait(&pipeline->go);
}

/* Reader */

/* Fills the slot unless the blob ends; returns how much, or -1. */
static ssize_t read_slot(int fd, uint8_t *slot)
{
    size_t filled = 0;
    while (filled < RING_SLOT_BYTES) {
        ssize_t got = read(fd, slot + filled, RING_SLOT_BYTES - filled);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -1;
        if (got > 0)
            filled += (size_t)got;
    }
    return (ssize_t)filled;
}

/* Reads on when the inflater has given up: the digest may explain why it did. A
 * blob that is too long already is wrong, whatever follows. */
static void *run_reader(void *context)
{
    struct pipeline *pipeline = context;
    wait_for_go(pipeline);
    while (pipeline->blob_bytes <= pipeline->request->blob_size_bytes) {
        uint8_t *slot = ring_reserve(pipeline->blob_ring);
        ssize_t size = read_slot(pipeline->input_fd, slot);
        if (size < 0)
            error_set_errno(&pipeline->read_error, ERROR_INTERNAL, errno, "cannot read the blob");
        if (size <= 0)
            break;
        pipeline->blob_bytes += (size_t)size;
        digest_state_update(pipeline->blob_state, slot, (size_t)size);
        ring_publish(pipeline->blob_ring, (size_t)size);
    }
    ring_close(pipeline->blob_ring);
    return NULL;
}

/* Inflater */

/* Inflates one piece into as many slots as it takes; `*out` has room for the next
 * byte before and after. Sets *wanted to false when the builder has gone. */
static bool inflate_piece(struct pipeline *pipeline, struct inflate_buffers *buffers, bool *wanted,
                          struct error *error)
{
    for (;;) {
        if (!inflate_step(pipeline->inflate, buffers, error))
            return false;
        if (buffers->out_bytes > 0)
            return true;
        *wanted = ring_publish(pipeline->tar_ring, RING_SLOT_BYTES);
        if (!*wanted)
            return true;
        buffers->out = ring_reserve(pipeline->tar_ring);
        buffers->out_bytes = RING_SLOT_BYTES;
    }
}

static void inflate_blob(struct pipeline *pipeline)
{
    struct error *error = &pipeline->inflate_error;
    struct inflate_buffers buffers = {.out = ring_reserve(pipeline->tar_ring),
                                      .out_bytes = RING_SLOT_BYTES};
    bool wanted = true;
    while (wanted && (buffers.in_bytes = ring_take(pipeline->blob_ring, &buffers.in)) > 0)
        if (!inflate_piece(pipeline, &buffers, &wanted, error))
            return;
    if (!wanted || !inflate_end(pipeline->inflate, error))
        return;
    if (buffers.out_bytes < RING_SLOT_BYTES)
        ring_publish(pipeline->tar_ring, RING_SLOT_BYTES - buffers.out_bytes);
}

static void *run_inflater(void *context)
{
    struct pipeline *pipeline = context;
    wait_for_go(pipeline);
    inflate_blob(pipeline);
    ring_abandon(pipeline->blob_ring);
    ring_close(pipeline->tar_ring);
    return NULL;
}

/* Builder */

/* All that was written is in the file: the writer seeks nowhere. */
static uint64_t output_size(const struct pipeline *pipeline)
{
    off_t size = lseek(pipeline->output_fd, 0, SEEK_END);
    return size < 0 ? 0 : (uint64_t)size;
}

/* A follower that goes before the end has failed. */
static bool tell_followers(struct pipeline *pipeline, uint64_t written_bytes, struct error *error)
{
    /* The flusher last: what a disk did not take may also be why it could not be read. */
    bool verifying = growth_tell(pipeline->to_verify, written_bytes);
    bool flushing = growth_tell(pipeline->to_flush, written_bytes);
    if (!flushing || !verifying)
        *error = flushing ? pipeline->verify_error : pipeline->flush_error;
    return flushing && verifying;
}

/* struct tar_source's next(). */
static bool next_tar_piece(void *context, const void **bytes, size_t *size_bytes,
                           struct error *error)
{
    struct pipeline *pipeline = context;
    const uint8_t *piece = NULL;
    *size_bytes = ring_take(pipeline->tar_ring, &piece);
    *bytes = piece;
    if (*size_bytes == 0 && pipeline->inflate_error.code != ERROR_NONE) {
        *error = pipeline->inflate_error;
        return false;
    }
    if (*size_bytes > 0)
        digest_state_update(pipeline->tar_state, piece, *size_bytes);
    atomic_fetch_add_explicit(pipeline->tar_bytes, *size_bytes, memory_order_relaxed);
    return tell_followers(pipeline, output_size(pipeline), error);
}

static bool build(struct pipeline *pipeline, struct layer_result *result, struct error *error)
{
    const struct convert_request *request = pipeline->request;
    const struct tar_source source = {next_tar_piece, pipeline};
    const struct layer_limits limits = {
        .max_entries = request->limits.max_entries,
        .max_path_depth = MAX_PATH_DEPTH,
        .max_output_bytes = request->limits.max_output_bytes,
    };
    bool built =
        layer_build(&source, &request->diff_id, &limits, pipeline->output_fd, result, error);
    ring_abandon(pipeline->tar_ring);
    return built;
}

static bool check_digest(const char *what, const struct digest *found,
                         const struct digest *expected, struct error *error)
{
    if (digest_equal(found, expected))
        return true;
    char found_text[DIGEST_TEXT_SIZE];
    char expected_text[DIGEST_TEXT_SIZE];
    digest_format(found, found_text);
    digest_format(expected, expected_text);
    return error_set(error, ERROR_DIGEST_MISMATCH, "the %s is %s, but %s was expected", what,
                     found_text, expected_text);
}

static bool check_blob(struct pipeline *pipeline, struct error *error)
{
    const struct convert_request *request = pipeline->request;
    if (pipeline->read_error.code != ERROR_NONE) {
        *error = pipeline->read_error;
        return false;
    }
    if (pipeline->blob_bytes > request->blob_size_bytes)
        return error_set(error, ERROR_DIGEST_MISMATCH,
                         "the blob goes on after the %llu bytes that its descriptor says",
                         (unsigned long long)request->blob_size_bytes);
    if (pipeline->blob_bytes < request->blob_size_bytes)
        return error_set(
            error, ERROR_DIGEST_MISMATCH, "the blob has %llu bytes, but its descriptor says %llu",
            (unsigned long long)pipeline->blob_bytes, (unsigned long long)request->blob_size_bytes);
    struct digest found = digest_state_finish(pipeline->blob_state);
    return check_digest("blob's digest", &found, &request->blob_digest, error);
}

/* Verifier */

static void *run_verifier(void *context)
{
    struct pipeline *pipeline = context;
    wait_for_go(pipeline);
    if (!readback_run(pipeline->to_verify, pipeline->output_fd, &pipeline->erofs_digest,
                      &pipeline->verify_error)) {
        (void)error_context(&pipeline->verify_error, "the layer file");
        growth_abandon(pipeline->to_verify);
    }
    return NULL;
}

/* Flusher */

static void *run_flusher(void *context)
{
    struct pipeline *pipeline = context;
    wait_for_go(pipeline);
    if (!flush_run(pipeline->to_flush, pipeline->output_fd, &pipeline->flush_error)) {
        (void)error_context(&pipeline->flush_error, "the layer file");
        growth_abandon(pipeline->to_flush);
    }
    return NULL;
}

/* Parses what was written while the followers come to its end; the first of what is wrong. */
static bool check_output(struct pipeline *pipeline, uint64_t size_bytes, struct error *error)
{
    struct error parse_error = {0};
    if (!erofs_file_check(pipeline->output_fd, size_bytes, &parse_error)) {
        parse_error.code = ERROR_INTERNAL; /* no registry's fault: the disk's or ours */
        (void)error_context(&parse_error, "reading the layer file back");
    }
    pthread_join(pipeline->verifier_thread, NULL);
    pthread_join(pipeline->flusher_thread, NULL);
    /* The flusher's first, as in tell_followers(). */
    if (pipeline->flush_error.code != ERROR_NONE)
        *error = pipeline->flush_error;
    else
        *error = pipeline->verify_error.code != ERROR_NONE ? pipeline->verify_error : parse_error;
    return error->code == ERROR_NONE;
}

static bool finish_output(struct pipeline *pipeline, uint64_t size_bytes, struct error *error)
{
    if (output_size(pipeline) != size_bytes)
        return error_set(error, ERROR_INTERNAL, "the layer file has %llu bytes instead of %llu",
                         (unsigned long long)output_size(pipeline), (unsigned long long)size_bytes);
    growth_end(pipeline->to_verify, size_bytes);
    growth_end(pipeline->to_flush, size_bytes);
    return check_output(pipeline, size_bytes, error);
}

/* A damaged blob gives these, once inflated; a full disk it cannot explain. Nor is what is too
 * large worth reading to its end. */
static bool blob_may_explain(enum error_code code)
{
    return code == ERROR_UNSUPPORTED_LAYER || code == ERROR_DIGEST_MISMATCH;
}

/* With the threads joined: the first of what is wrong. */
static bool check_input(struct pipeline *pipeline, bool built, const struct error *build_error,
                        struct error *error)
{
    if (!check_blob(pipeline, error))
        return false;
    bool inflated = pipeline->inflate_error.code == ERROR_NONE;
    if (!inflated || !built) {
        *error = inflated ? *build_error : pipeline->inflate_error;
        return false;
    }
    struct digest found = digest_state_finish(pipeline->tar_state);
    return check_digest("digest of the tar (diff_id)", &found, &pipeline->request->diff_id, error);
}

bool pipeline_run(struct pipeline *pipeline, int output_fd, struct convert_report *report,
                  struct error *error)
{
    pipeline->output_fd = output_fd;
    pthread_barrier_wait(&pipeline->go);
    struct layer_result result = {0};
    struct error build_error = {0};
    bool built = build(pipeline, &result, &build_error);
    if (!built && !blob_may_explain(build_error.code)) {
        *error = build_error;
        return false;
    }
    pthread_join(pipeline->inflater_thread, NULL);
    pthread_join(pipeline->reader_thread, NULL);
    if (!check_input(pipeline, built, &build_error, error))
        return false;

    if (!finish_output(pipeline, result.erofs_size_bytes, error))
        return false;
    *report = (struct convert_report){
        .tar_size_bytes = atomic_load(pipeline->tar_bytes),
        .erofs_size_bytes = result.erofs_size_bytes,
        .erofs_digest = pipeline->erofs_digest,
        .entries = result.entries,
    };
    return true;
}

static bool start_threads(struct pipeline *pipeline, struct error *error)
{
    int result = pthread_create(&pipeline->reader_thread, NULL, run_reader, pipeline);
    if (result == 0)
        result = pthread_create(&pipeline->inflater_thread, NULL, run_inflater, pipeline);
    if (result == 0)
        result = pthread_create(&pipeline->verifier_thread, NULL, run_verifier, pipeline);
    if (result == 0)
        result = pthread_create(&pipeline->flusher_thread, NULL, run_flusher, pipeline);
    if (result != 0)
        return error_set_errno(error, ERROR_INTERNAL, result, "cannot start a thread");
    pthread_barrier_wait(&pipeline->arrived);
    return true;
}

struct pipeline *pipeline_start(const struct convert_request *request, int input_fd,
                                _Atomic uint64_t *tar_bytes, struct error *error)
{
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
    if (!pipeline)
        abort();
    *pipeline = (struct pipeline){
        .request = request,
        .tar_bytes = tar_bytes,
        .blob_ring = ring_new(),
        .tar_ring = ring_new(),
        .to_verify = growth_new(READBACK_STEP_BYTES, OUTPUT_LEAD_BYTES),
        .to_flush = growth_new(FLUSH_STEP_BYTES, OUTPUT_LEAD_BYTES),
        .output_fd = -1,
        .input_fd = input_fd,
        .blob_state = digest_state_new(),
        .inflate = inflate_new(request->compression, request->limits.max_tar_bytes),
        .tar_state = digest_state_new(),
    };
    inflate_limit_ratio(pipeline->inflate, request->limits.max_ratio);
    pthread_barrier_init(&pipeline->arrived, NULL, CONVERT_THREADS);
    pthread_barrier_init(&pipeline->go, NULL, CONVERT_THREADS);
    return start_threads(pipeline, error) ? pipeline : NULL;
}
