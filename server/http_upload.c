/* Requests whose body is streamed: its reader runs on a thread of its own from the start,
 * while the loop hands over what comes. */
#include "server/body_stream.h"
#include "server/http_internal.h"
#include "server/node.h"
#include "server/routes.h"

#include <string.h>
#include <strings.h>

enum {
    /* A sender slower than this many bytes within a request's deadline is cut off. */
    PROGRESS_BYTES = 256 << 10,
    /* Thrown away beyond the limit, so that a body a little too long is told so. */
    DISCARD_BYTES = 8 << 20,
};

/* What curl, docker's users and browsers call an archive. */
bool http_upload_check_type(const char *type, struct error *error)
{
    static const char *const types[] = {
        "application/x-tar", "application/tar",    "application/octet-stream",
        "application/gzip",  "application/x-gzip", "application/zstd",
    };
    size_t length = type ? strcspn(type, "; \t") : 0;
    for (size_t i = 0; type && i < sizeof(types) / sizeof(types[0]); i++)
        if (strlen(types[i]) == length && strncasecmp(types[i], type, length) == 0)
            return true;
    return !type || error_set(error, ERROR_UNSUPPORTED_MEDIA_TYPE,
                              "The body is %s; an archive is application/x-tar, application/gzip, "
                              "application/zstd, application/octet-stream or of no type",
                              type);
}

static void resume(void *context)
{
    http_request_resume(context);
}

/* On a thread of the uploads' pool. */
static void read_upload(void *context)
{
    struct request *request = context;
    struct http_server *server = request->server;
    struct error error;
    if (!request->route->handler(request, &error))
        request_answer_problem(request, &error);
    http_request_forget_changes(request);
    atomic_fetch_sub(&server->uploads_running, 1);
    if (body_stream_leave(request->upload)) /* its connection is gone */
        http_request_over_elsewhere(request);
}

static bool refuse(struct error *error)
{
    return request_refuse_busy("This node takes as many archives as it can", error);
}

bool http_upload_begin(struct request *request, struct error *error)
{
    struct http_server *server = request->server;
    unsigned limit = (unsigned)server->node->options->pull_jobs;
    bool has_room = atomic_fetch_add(&server->uploads_running, 1) < limit;
    if (!has_room || atomic_load(&server->draining)) {
        atomic_fetch_sub(&server->uploads_running, 1);
        return refuse(error);
    }
    /* What is in libmicrohttpd's memory may go before the reader has left. */
    request->method = arena_strdup(&request->arena, request->method);
    request->headers = (struct request_headers){.has_body = true};
    request->remote =
        arena_strdup(&request->arena, http_connection_of(request->connection)->remote);
    request->peer = NULL;
    atomic_store(&http_connection_of(request->connection)->uploads, true);
    request->upload = body_stream_new(resume, request);
    if (worker_pool_submit(server->uploads, read_upload, request))
        return true;
    atomic_fetch_sub(&server->uploads_running, 1);
    body_stream_free(steal(&request->upload));
    return refuse(error);
}

/* A sender's clock stands still while we keep it waiting. */
static void wait_for_reader(struct request *request)
{
    atomic_store(&http_connection_of(request->connection)->waiting_since, 0);
    MHD_suspend_connection(request->connection);
}

static void note_progress(struct request *request, size_t taken)
{
    struct http_connection *connection = http_connection_of(request->connection);
    size_t before = request->body_seen_bytes;
    request->body_seen_bytes += taken;
    if (before / PROGRESS_BYTES != request->body_seen_bytes / PROGRESS_BYTES ||
        atomic_load(&connection->waiting_since) == 0)
        atomic_store(&connection->waiting_since, clock_now_us());
}

enum MHD_Result http_upload_take(struct request *request, const char *bytes, size_t *size)
{
    bool wait = false;
    size_t taken = body_stream_put(request->upload, bytes, *size, &wait);
    *size -= taken;
    note_progress(request, taken);
    if (request->body_seen_bytes > request->node->options->max_archive_bytes + DISCARD_BYTES)
        return MHD_NO;
    if (wait)
        wait_for_reader(request);
    return MHD_YES;
}

bool http_upload_is_over(struct request *request)
{
    if (!request->upload)
        return true;
    atomic_store(&http_connection_of(request->connection)->uploads, false);
    if (!body_stream_is_read(request->upload))
        request->connection = NULL; /* its reader may outlive it */
    return !body_stream_break_off(request->upload);
}

bool http_upload_end(struct request *request)
{
    if (!body_stream_end(request->upload))
        return true;
    wait_for_reader(request);
    return false;
}
