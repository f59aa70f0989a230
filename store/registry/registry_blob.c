#include "store/registry/registry_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A blob on its way to the sink, over as many connections as it takes. */
struct transfer {
    const struct descriptor *descriptor;
    registry_sink *sink;
    void *context;
    const char *what;
    struct exchange exchange;
    bool sink_refused;
    uint64_t delivered; /* bytes that the sink has */
    bool body_checked;  /* of this attempt: where its body starts */
    uint64_t skip;      /* bytes of it that the sink already has */
    bool no_ranges;     /* the source's are wrong: all again, but for what the sink has */
    bool ranges_failed; /* just now */
};

static bool wrong_size(const struct transfer *transfer, uint64_t found, struct error *error)
{
    return error_set(error, ERROR_DIGEST_MISMATCH,
                     "%s has %" PRIu64 " bytes in the registry, but the manifest says %" PRIu64,
                     transfer->what, found, transfer->descriptor->size_bytes);
}

/* Where does this answer start? A registry may ignore Range and send all again. */
static bool check_start(struct transfer *transfer, struct error *error)
{
    const struct exchange *exchange = &transfer->exchange;
    uint64_t size = transfer->descriptor->size_bytes;
    transfer->body_checked = true;
    if (exchange->status == 200) {
        transfer->skip = transfer->delivered;
        if (exchange->content_length >= 0 && (uint64_t)exchange->content_length != size)
            return wrong_size(transfer, (uint64_t)exchange->content_length, error);
        return true;
    }
    transfer->skip = 0;
    transfer->ranges_failed =
        exchange->range_start > 0 && exchange->content_range_start != exchange->range_start;
    if (exchange->content_range_start != exchange->range_start)
        return error_set(error, ERROR_PULL_FAILED,
                         "%s: asked for byte %" PRIu64 " on, the registry sent from %" PRIu64,
                         transfer->what, exchange->range_start, exchange->content_range_start);
    if (exchange->content_range_total != UINT64_MAX && exchange->content_range_total != size)
        return wrong_size(transfer, exchange->content_range_total, error);
    return true;
}

static bool take_body(void *context, const void *bytes, size_t size_bytes, struct error *error)
{
    struct transfer *transfer = context;
    if (!transfer->body_checked && !check_start(transfer, error))
        return false;
    const char *start = bytes;
    size_t skipped = size_bytes < transfer->skip ? size_bytes : (size_t)transfer->skip;
    transfer->skip -= skipped;
    start += skipped;
    size_bytes -= skipped;
    if (size_bytes == 0)
        return true;
    if (size_bytes > transfer->descriptor->size_bytes - transfer->delivered)
        return error_set(error, ERROR_DIGEST_MISMATCH,
                         "%s is longer in the registry than the %" PRIu64
                         " bytes that the manifest says",
                         transfer->what, transfer->descriptor->size_bytes);
    transfer->delivered += size_bytes;
    transfer->sink_refused = !transfer->sink(transfer->context, start, size_bytes, error);
    return !transfer->sink_refused;
}

enum outcome { OUTCOME_DONE, OUTCOME_AGAIN, OUTCOME_FAILED };

/* The attempt ended with an answer. A body without announced length may have been cut
 * off, so one that is short is asked for again. */
static enum outcome judge_answer(struct transfer *transfer, struct error *error)
{
    const struct exchange *exchange = &transfer->exchange;
    uint64_t size = transfer->descriptor->size_bytes;
    if (exchange->status != 200 && exchange->status != 206) {
        exchange_refused(exchange, transfer->what, error);
        transfer->ranges_failed = exchange->status == 416 && exchange->range_start > 0;
        if (transfer->ranges_failed) /* or the blob ends here, which the next answer tells */
            wrong_size(transfer, transfer->delivered, error);
        return status_may_pass(exchange->status) ? OUTCOME_AGAIN : OUTCOME_FAILED;
    }
    if (!transfer->body_checked && !check_start(transfer, error))
        return OUTCOME_FAILED;
    if (transfer->delivered == size)
        return OUTCOME_DONE;
    wrong_size(transfer, transfer->delivered, error);
    return OUTCOME_AGAIN;
}

static enum outcome run_attempt(struct registry_client *client, const struct reference *source,
                                struct transfer *transfer, struct error *error)
{
    transfer->exchange.range_start = transfer->no_ranges ? 0 : transfer->delivered;
    transfer->body_checked = false;
    transfer->ranges_failed = false;
    bool answered = registry_attempt(client, source, &transfer->exchange, error);
    enum outcome outcome = answered ? judge_answer(transfer, error) : OUTCOME_FAILED;
    if (transfer->ranges_failed) {
        transfer->no_ranges = true;
        return OUTCOME_AGAIN;
    }
    if (answered)
        return outcome;
    if (!transfer->exchange.may_retry)
        return OUTCOME_FAILED;
    bool has_all =
        transfer->body_checked && transfer->delivered == transfer->descriptor->size_bytes;
    return has_all ? OUTCOME_DONE : OUTCOME_AGAIN; /* broken off after the last byte */
}

static bool run_attempts(struct registry_client *client, const struct reference *source,
                         struct transfer *transfer, struct attempts attempts, struct error *error)
{
    for (;;) {
        uint64_t before = transfer->delivered;
        enum outcome outcome = run_attempt(client, source, transfer, error);
        if (outcome == OUTCOME_DONE)
            return true;
        if (outcome == OUTCOME_FAILED)
            return false;
        if (transfer->delivered > before)
            attempts.in_a_row = 0;
        if (!attempts_pause(&attempts, transfer->exchange.retry_after_seconds,
                            transfer->exchange.cancel, error))
            return false;
    }
}

static bool fetch_from(struct registry_client *client, const struct reference *reference,
                       const struct reference *source, struct transfer *transfer,
                       struct error *error)
{
    cleanup_arena struct arena arena = {0};
    char digest[DIGEST_TEXT_SIZE];
    struct endpoint endpoint;
    digest_format(&transfer->descriptor->digest, digest);
    endpoint_of(client, source->registry, &endpoint);
    transfer->what =
        arena_printf(&arena, "blob %s of %s/%s", digest, source->registry, source->repository);
    transfer->no_ranges = false;
    transfer->exchange.url =
        arena_printf(&arena, "%s/v2/%s/blobs/%s", endpoint.base, source->repository, digest);
    return run_attempts(client, source, transfer, attempts_at(client, reference, source), error);
}

/* What a mirror began, the next source goes on with: the digest says that it is the same. */
bool registry_fetch_blob(struct registry_client *client, const struct reference *reference,
                         const struct descriptor *descriptor, enum blob_source from,
                         registry_sink *sink, void *context, const atomic_bool *cancel,
                         struct error *error)
{
    struct reference sources[SOURCES_MAX];
    size_t count = registry_sources(client, reference, sources);
    struct transfer transfer = {
        .descriptor = descriptor,
        .sink = sink,
        .context = context,
        .exchange = {.body = take_body, .cancel = cancel},
    };
    transfer.exchange.body_context = &transfer;
    if (!registry_check_allowed(client, reference, error))
        return false;
    for (size_t i = from == BLOB_FROM_REGISTRY ? count - 1 : 0; i < count; i++) {
        if (fetch_from(client, reference, &sources[i], &transfer, error))
            return true;
        if (transfer.sink_refused || error->code == ERROR_PULL_CANCELLED)
            return false;
    }
    return false;
}
