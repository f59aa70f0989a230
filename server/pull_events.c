#include "server/pull_events.h"

#include "server/clock.h"
#include "server/http_server.h"
#include "server/node.h"
#include "server/pull_answer.h"
#include "server/resources.h"

#include <string.h>

/* Tells proxies that we live, and us that the client does: one that left is seen when
 * something is sent. */
static const int64_t KEEP_ALIVE_US = 15 * 1000 * 1000;

static void append(struct json_writer *out, const char *text)
{
    json_append(out, text, strlen(text));
}

static const char *event_name(const struct pull *pull)
{
    return pull_state_is_final(pull->state) ? pull_state_name(pull->state) : "progress";
}

/* True when the pull differs from what was sent last. */
static bool append_event(struct request *request, const struct pull *pull)
{
    struct request_stream *stream = &request->stream;
    cleanup_json_writer struct json_writer data = {0};
    pull_write(request, &data, pull);
    struct digest digest = digest_of(data.bytes, data.size_bytes);
    if (digest_equal(&digest, &stream->last_sent))
        return false;
    stream->last_sent = digest;
    append(&stream->pending, "event: ");
    append(&stream->pending, event_name(pull));
    append(&stream->pending, "\ndata: ");
    json_append(&stream->pending, data.bytes, data.size_bytes);
    append(&stream->pending, "\n\n");
    stream->finished = pull_state_is_final(pull->state);
    return true;
}

bool pull_events_look(struct request *request, const struct pull *pull, bool is_gone, bool hurry)
{
    struct request_stream *stream = &request->stream;
    bool changed = pull && append_event(request, pull);
    if (is_gone || hurry)
        stream->finished = true;
    if (!changed && !stream->finished && clock_now_us() >= stream->keep_alive_at_us) {
        append(&stream->pending, ": still here\n\n");
        changed = true;
    }
    if (changed)
        stream->keep_alive_at_us = clock_now_us() + KEEP_ALIVE_US;
    return changed || stream->finished;
}

/* libmicrohttpd asks for the next bytes, on the event loop. */
static ssize_t read_stream(void *context, uint64_t position, char *buffer, size_t size)
{
    (void)position;
    struct request *request = context;
    struct request_stream *stream = &request->stream;
    size_t left = stream->pending.size_bytes - stream->taken_bytes;
    if (left == 0 && stream->finished)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (left == 0) {
        stream->pending.size_bytes = 0;
        stream->taken_bytes = 0;
        http_request_watch(request);
        return 0;
    }
    size_t piece = left < size ? left : size;
    memcpy(buffer, stream->pending.bytes + stream->taken_bytes, piece);
    stream->taken_bytes += piece;
    return (ssize_t)piece;
}

bool pulls_follow(struct request *request, struct error *error)
{
    struct pull pull;
    if (!catalogue_find_pull(request->node->catalogue, request->variable, &request->arena, &pull,
                             error))
        return false;
    request->wait.pull_id = pull.id;
    request->stream.is_open = true;
    if (!pull_events_look(request, &pull, false, false))
        return error_set(error, ERROR_INTERNAL, "The first event of a pull is empty");
    request_answer_stream(request, "text/event-stream", read_stream);
    request_add_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return true;
}
