#include "server/pull_events.h"

#include "server/clock.h"
#include "server/http_server.h"
#include "server/node.h"
#include "server/pull_answer.h"
#include "server/resources.h"

#include <poll.h>
#include <string.h>

/* Tells proxies that we live, and us of a client that vanished without a word. */
static const int64_t KEEP_ALIVE_US = INT64_C(15) * 1000 * 1000;

static void append(struct json_writer *out, const char *text)
{
    json_append(out, text, strlen(text));
}

void pull_event_write(struct node *node, struct arena *arena, const struct pull *pull,
                      struct pull_event *event)
{
    bool is_last = pull_state_is_final(pull->state);
    *event = (struct pull_event){.name = is_last ? pull_state_name(pull->state) : "progress",
                                 .is_last = is_last};
    pull_write(node, arena, &event->data, pull);
    event->digest = digest_of(event->data.bytes, event->data.size_bytes);
}

/* True when the pull differs from what was sent last. */
static bool append_event(struct request_stream *stream, const struct pull_event *event)
{
    if (digest_equal(&event->digest, &stream->last_sent))
        return false;
    stream->last_sent = event->digest;
    append(&stream->pending, "event: ");
    append(&stream->pending, event->name);
    append(&stream->pending, "\ndata: ");
    json_append(&stream->pending, event->data.bytes, event->data.size_bytes);
    append(&stream->pending, "\n\n");
    stream->finished = event->is_last;
    return true;
}

/* libmicrohttpd does not look at a suspended connection. A client that only closed its
 * own direction counts as gone too: it cannot be told from one that left. */
static bool has_left(const struct request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd connection = {.fd = info->connect_fd, .events = POLLRDHUP};
    return poll(&connection, 1, 0) > 0;
}

bool pull_events_look(struct request *request, const struct pull_event *event, bool is_gone,
                      bool hurry)
{
    struct request_stream *stream = &request->stream;
    bool changed = event && append_event(stream, event);
    if (is_gone || hurry || has_left(request))
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
    struct pull_event event;
    pull_event_write(request->node, &request->arena, &pull, &event);
    bool has_event = pull_events_look(request, &event, false, false);
    json_writer_free(&event.data);
    if (!has_event)
        return error_set(error, ERROR_INTERNAL, "The first event of a pull is empty");
    request_answer_stream(request, "text/event-stream", read_stream);
    request_add_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return true;
}
