#include "server/http_internal.h"

#include "server/audit.h"
#include "server/auth.h"
#include "server/body_stream.h"
#include "server/cache_lease.h"
#include "server/cross_site.h"
#include "server/http_lines.h"
#include "server/log.h"
#include "server/node.h"
#include "server/routes.h"
#include "server/tls.h"
#include "store/metrics.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    /* What is thrown away of a body that is too long, before the connection goes. */
    DISCARD_MAX_BYTES = 8 << 20,
    /* Who waited that long for a worker is told to come again: behind a catalogue that
     * hangs, a queue would otherwise take its length times the statements' time-out. A burst
     * that fits in the queue may take that long. Once there was no room, more come than can be
     * answered, and a queue that stays full makes all wait for the same few answers: then the
     * shorter time holds. */
    QUEUE_PATIENCE_US = 2 * 1000 * 1000,
    OVERLOAD_PATIENCE_US = 100 * 1000,
};

/* Its handshake is over. */
static void read_certificate(struct tls *tls, struct MHD_Connection *connection, int64_t now_us,
                             struct peer *peer)
{
    if (!tls || peer->is_unix)
        return;
    unsigned generation = tls_generation(tls);
    if (!peer_certificate_is_due(peer, generation, now_us))
        return;
    peer->certificate_read_us = now_us;
    peer->certificate_generation = generation;
    if (!tls_client_name(tls, connection, peer->certificate_name))
        peer->certificate_name[0] = '\0';
}

void *http_request_new(void *loop, const char *target, struct MHD_Connection *connection)
{
    struct request *request = http_loop_take_request(loop);
    request->loop = loop;
    request->server = http_loop_server(loop);
    request->reader = http_loop_reader(loop);
    request->node = request->server->node;
    request->connection = connection;
    request->started_us = clock_now_us();
    request->target = arena_strdup(&request->arena, target);
    request->target_in_place = target;
    struct http_connection *record = http_connection_of(connection);
    read_certificate(request->node->tls, connection, request->started_us, &record->peer);
    request->peer = &record->peer;
    http_request_free(record->request);
    record->request = request;
    metric_add(METRIC_HTTP_IN_FLIGHT, 1);
    return request;
}

static bool is_sane_id(const char *id)
{
    size_t length = strlen(id);
    if (length == 0 || length >= REQUEST_ID_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        if (id[i] <= ' ' || id[i] > '~')
            return false;
    return true;
}

static void choose_id(struct request *request)
{
    const char *given = request->headers.request_id;
    if (given && is_sane_id(given)) {
        snprintf(request->id, sizeof(request->id), "%s", given);
        return;
    }
    http_loop_new_id(request->loop, request->id);
}

static bool is_streamed(const struct request *request)
{
    return request->route && request->route->body == BODY_STREAM;
}

/* A body that is too long is not even read. */
static bool check_length(struct request *request, struct error *error)
{
    const uint64_t most =
        is_streamed(request) ? request->node->options->max_archive_bytes : REQUEST_BODY_MAX_BYTES;
    if (request->headers.content_length <= most)
        return true;
    request->must_close = true;
    return error_set(error, ERROR_PAYLOAD_TOO_LARGE,
                     "The body has %llu bytes; at most %llu are taken",
                     (unsigned long long)request->headers.content_length, (unsigned long long)most);
}

static bool is_type(const char *type, const char *wanted)
{
    size_t length = strcspn(type, "; \t");
    return length == strlen(wanted) && strncasecmp(type, wanted, length) == 0;
}

static bool check_body(struct request *request, struct error *error)
{
    static const char wanted[] = "application/json";
    const char *type = request->headers.content_type;
    if (is_streamed(request))
        return http_upload_check_type(type, error);
    if (!request->headers.has_body)
        return request->route->body != BODY_REQUIRED ||
               error_set(error, ERROR_INVALID_ARGUMENT, "The body is missing; it is a JSON object");
    if (request->route->body == BODY_NONE)
        return error_set(error, ERROR_INVALID_ARGUMENT, "%s %s takes no body",
                         request->route->method, request->route->pattern);
    if (type && is_type(type, wanted))
        return true;
    return error_set(error, ERROR_UNSUPPORTED_MEDIA_TYPE, "The body is %s; only %s is taken",
                     type ? type : "of no type (Content-Type is missing)", wanted);
}

/* All that can be judged before the body is here. */
static bool examine(struct request *request, const char *version, struct error *error)
{
    const char *fault =
        http_request_line_fault(request->target_in_place, strlen(request->target), version);
    bool framed = http_headers_read(request, fault, error);
    choose_id(request);
    bool found = framed && path_split(&request->arena, request->target, &request->path, error) &&
                 query_split(&request->arena, request->target, &request->query, error) &&
                 route_find(request, &request->allow, error);
    if (framed && !check_length(request, error))
        return false;
    return found && cross_site_check(request, error) && auth_check(request, error) &&
           check_body(request, error) &&
           (!request->route->check || request->route->check(request, error)) &&
           (!is_streamed(request) || http_upload_begin(request, error));
}

/* Queues the answer. The request is over when MHD says that it is completed. */
static enum MHD_Result send_answer(struct request *request)
{
    assert(request->response);
    request->phase = REQUEST_ANSWERED;
    request_add_header(request, "X-Request-Id", request->id);
    if (request->must_close || atomic_load(&request->server->draining))
        request_add_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
    return MHD_queue_response(request->connection, request->status, request->response);
}

static void answer_busy(struct request *request, const char *why)
{
    struct error error;
    (void)request_refuse_busy(why, &error);
    request_answer_problem(request, &error);
}

/* There are too many connections, of all or from one address, and this is one. */
static enum MHD_Result send_away(struct request *request)
{
    choose_id(request);
    request->must_close = true;
    answer_busy(request, "This node has too many connections");
    return send_answer(request);
}

static enum MHD_Result begin(struct request *request, const char *method, const char *version)
{
    struct error error;
    request->method = method;
    request->phase = REQUEST_READING;
    if (http_connection_of(request->connection)->is_excess)
        return send_away(request);
    if (examine(request, version, &error))
        return MHD_YES;
    request->early = error;
    /* One who asks first hears it before he sends an archive; so does one who would send more
     * of it than is thrown away, and never hear it. */
    if (is_streamed(request) &&
        (request->headers.expects_continue || request->headers.content_length > DISCARD_MAX_BYTES))
        request->must_close = true;
    /* An answer now costs the connection: only where its body must not be read. */
    if (!request->must_close)
        return MHD_YES;
    request_answer_problem(request, &error);
    return send_answer(request);
}

static enum MHD_Result take_body(struct request *request, const char *bytes, size_t *size)
{
    size_t taken = *size;
    if (request->upload)
        return http_upload_take(request, bytes, size);
    *size = 0;
    request->body_seen_bytes += taken;
    if (request->body_seen_bytes > DISCARD_MAX_BYTES)
        return MHD_NO;
    if (request->body_seen_bytes > REQUEST_BODY_MAX_BYTES) {
        request->must_close = true;
        if (request->early.code == ERROR_NONE)
            error_set(&request->early, ERROR_PAYLOAD_TOO_LARGE, "The body has more than %d bytes",
                      REQUEST_BODY_MAX_BYTES);
    }
    if (request->early.code != ERROR_NONE)
        return MHD_YES;
    char *body = realloc(request->body, request->body_seen_bytes);
    if (!body)
        abort();
    memcpy(body + request->body_size_bytes, bytes, taken);
    request->body = body;
    request->body_size_bytes = request->body_seen_bytes;
    return MHD_YES;
}

static bool parse_body(struct request *request, struct error *error)
{
    if (request->body_size_bytes == 0)
        return request->route->body != BODY_REQUIRED ||
               error_set(error, ERROR_INVALID_ARGUMENT, "The body is empty; it is a JSON object");
    json_error_t where;
    request->json = json_loadb(request->body, request->body_size_bytes,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (!request->json)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "The body is not JSON: %s, at line %d, column %d, byte %d", where.text,
                         where.line, where.column, where.position);
    if (!json_is_object(request->json))
        return error_set(error, ERROR_INVALID_ARGUMENT, "The body must be a JSON object");
    return true;
}

static void run_handler(struct request *request, route_handler *handler)
{
    struct error error;
    if (!parse_body(request, &error) || !handler(request, &error))
        request_answer_problem(request, &error);
}

bool request_should_hurry(const struct request *request)
{
    return atomic_load(&request->server->draining);
}

void http_request_resume(struct request *request)
{
    http_loop_resume(request->loop, request);
}

void http_request_watch(struct request *request)
{
    MHD_suspend_connection(request->connection);
    pull_watch_add(request->server->pull_watch, request);
}

/* A load that is refused may have brought some of its images before. */
static bool has_changed_some(const struct request *request)
{
    return is_streamed(request) ? request->status < 500
                                : request->status < 300 && !request->memory_is_right;
}

/* Memory may stay as it is for those who are not told that it is wrong. */
static void catch_up_or_be_silent(struct request *request)
{
    struct error why;
    if (!request->response || request->status >= 300 || /* or waits for the end (pull_watch.c) */
        cache_lease_renew(request->node->lease, request->node->catalogue, &why))
        return;
    MHD_destroy_response(steal(&request->response));
    request_answer_problem(request, &why);
}

/* Who is told of a change reads it here from now on. When nobody knows whether it was
 * made, memory is not believed until PostgreSQL was asked. */
void http_request_forget_changes(struct request *request)
{
    if (request->route->tells_of_images)
        catch_up_or_be_silent(request);
    if (!request->route->changes_images)
        return;
    if (has_changed_some(request))
        cache_lease_catch_up(request->node->lease, request->node->catalogue);
    else if (request->status >= 500)
        cache_lease_distrust(request->node->lease);
}

static struct worker_pool *workers_of(const struct request *request)
{
    const struct http_server *server = request->server;
    if (request->route->reads_files)
        return server->file_workers;
    if (request->route->touches_files)
        return server->both_workers;
    return request->route->is_long ? server->long_workers : server->workers;
}

/* What was queued before that has waited too long. */
static int64_t patience_ends_at_us(const struct worker_pool *workers)
{
    return clock_now_us() -
           (worker_pool_is_overloaded(workers) ? OVERLOAD_PATIENCE_US : QUEUE_PATIENCE_US);
}

void http_request_answer_late(struct http_server *server)
{
    if (pthread_mutex_trylock(&server->late_lock) != 0)
        return;
    struct worker_pool *const pools[] = {server->workers, server->long_workers,
                                         server->file_workers, server->both_workers};
    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
        struct request *request;
        while ((request = worker_pool_take_late(pools[i], patience_ends_at_us(pools[i])))) {
            answer_busy(request, "This node is busy");
            http_request_resume(request);
        }
    }
    pthread_mutex_unlock(&server->late_lock);
}

/* On a worker. */
static void run_suspended(void *context)
{
    struct request *request = context;
    if (request->queued_us < patience_ends_at_us(workers_of(request))) {
        answer_busy(request, "This node is busy");
    } else {
        run_handler(request, request->on_worker ? request->on_worker : request->route->handler);
        http_request_forget_changes(request);
    }
    if (request->response)
        http_request_resume(request);
    else
        pull_watch_add(request->server->pull_watch, request);
}

static enum MHD_Result run_on_worker(struct request *request)
{
    request->phase = REQUEST_RUNNING;
    request->queued_us = clock_now_us();
    if (!worker_pool_submit(workers_of(request), run_suspended, request)) {
        answer_busy(request, "This node is busy");
        return send_answer(request);
    }
    /* However fast the worker is, its answer waits in this loop's inbox. */
    MHD_suspend_connection(request->connection);
    return MHD_YES;
}

static enum MHD_Result run_on_loop(struct request *request)
{
    request->phase = REQUEST_RUNNING;
    run_handler(request, request->route->handler);
    if (request->response)
        return send_answer(request);
    if (request->on_worker)
        return run_on_worker(request);
    MHD_suspend_connection(request->connection); /* until the reader has read */
    return MHD_YES;
}

/* The whole request is here. */
static enum MHD_Result dispatch(struct request *request)
{
    atomic_store(&http_connection_of(request->connection)->waiting_since, 0);
    if (request->early.code != ERROR_NONE) {
        request_answer_problem(request, &request->early);
        return send_answer(request);
    }
    if (request->upload) {
        request->phase = REQUEST_RUNNING;
        return http_upload_end(request) ? send_answer(request) : MHD_YES;
    }
    return request->route->on_loop ? run_on_loop(request) : run_on_worker(request);
}

enum MHD_Result http_request_step(void *loop, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    (void)loop;
    (void)connection;
    (void)url;
    struct request *request = *context;
    switch (request->phase) {
    case REQUEST_NEW:
        return begin(request, method, version);
    case REQUEST_READING:
        return *upload_size > 0 ? take_body(request, upload, upload_size) : dispatch(request);
    case REQUEST_RUNNING:
        return send_answer(request);
    case REQUEST_ANSWERED:
        break;
    }
    *upload_size = 0; /* what still comes of a body that was refused */
    return MHD_YES;
}

static const char *remote_of(const struct request *request)
{
    if (request->remote)
        return request->remote;
    const struct http_connection *record = http_connection_of(request->connection);
    return record ? record->remote : NULL;
}

static void log_request(const struct request *request, bool whole, int64_t duration_us,
                        struct json_writer *lines)
{
    char path[512] = "";
    size_t path_length = strcspn(request->target, "?");
    memcpy(path, request->target, path_length < sizeof(path) ? path_length : sizeof(path) - 1);
    enum log_level level = request->status >= 500 ? LOG_WARNING : LOG_INFO;
    LOG_APPEND(&request->node->log, lines, level, whole ? "request" : "request aborted",
               FIELD_TEXT("request_id", request->id), FIELD_TEXT("method", request->method),
               FIELD_TEXT("route", request->route ? request->route->pattern : NULL),
               FIELD_TEXT("path", path), FIELD_INT("status", (int64_t)request->status),
               FIELD_INT("bytes", request->response_size_bytes),
               FIELD_INT("duration_us", duration_us),
               FIELD_TEXT("who", request->who.name[0] ? request->who.name : NULL),
               FIELD_TEXT("remote", remote_of(request)));
    audit_request(request, remote_of(request));
}

static void count_request(const struct request *request, int64_t duration_us)
{
    unsigned route = route_number(request->route);
    metric_add(METRIC_HTTP_REQUESTS, 1, route, metric_status(request->status));
    metric_add(METRIC_HTTP_RESPONSE_BYTES, request->response_size_bytes, route);
    metric_observe(METRIC_HTTP_REQUEST_SECONDS, duration_us, route);
}

static void release(struct request *request)
{
    metric_add(METRIC_HTTP_IN_FLIGHT, -1);
    if (request->response)
        MHD_destroy_response(request->response);
    json_writer_free(&request->stream.pending);
    body_stream_free(request->upload);
    http_file_close(request);
    json_decref(request->json);
    free(request->body);
}

void http_request_free(struct request *request)
{
    if (!request)
        return;
    release(request);
    http_loop_give_request(request->loop, request);
}

/* Its line, and its part in the metrics. */
static void tell(const struct request *request, bool whole, struct json_writer *lines)
{
    int64_t duration_us = clock_now_us() - request->started_us;
    log_request(request, whole, duration_us, lines);
    count_request(request, duration_us);
}

void http_request_over_elsewhere(struct request *request)
{
    cleanup_json_writer struct json_writer lines = {0};
    tell(request, false, &lines);
    log_write_lines(&request->node->log, LOG_OF_REQUEST, &lines);
    release(request);
    http_loop_discard_request(request);
}

void http_request_completed(void *loop, struct MHD_Connection *connection, void **context,
                            enum MHD_RequestTerminationCode why)
{
    (void)loop;
    struct request *request = *context;
    *context = NULL;
    if (!request)
        return;
    struct http_connection *record = http_connection_of(connection);
    struct http_server *server = request->server;
    if (record)
        record->request = NULL;
    bool whole = why == MHD_REQUEST_TERMINATED_COMPLETED_OK || http_file_was_sent(request);
    if (http_upload_is_over(request)) {
        tell(request, whole, http_loop_log(request->loop));
        http_request_free(request);
    }
    if (record)
        http_connection_wait(server, record);
}
