#include "server/request.h"

#include "server/content_coding.h"
#include "server/etag.h"
#include "server/log.h"
#include "server/node.h"
#include "server/read_cache.h"
#include "server/routes.h"
#include "store/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_LIMIT = 100, MAX_LIMIT = 1000 }; /* of a list */
enum {
    LARGE_BYTES = 64 << 10,       /* smaller answers are not counted */
    UNREAD_BYTES_MAX = 256 << 20, /* of all large ones that clients have not read yet */
};

static const char json_media_type[] = "application/json";
static const char archive_media_types[] =
    "application/x-tar, application/gzip, application/zstd, application/octet-stream";
static const char problem_media_type[] = "application/problem+json";

static void answer(struct request *request, unsigned status, struct MHD_Response *response,
                   uint64_t size_bytes)
{
    assert(!request->response);
    if (!response)
        abort(); /* MHD makes none only when memory has run out */
    request->response = response;
    request->status = status;
    request->response_size_bytes = (int64_t)size_bytes;
}

void request_add_header(struct request *request, const char *name, const char *value)
{
    assert(request->response);
    MHD_add_response_header(request->response, name, value);
}

/* A large answer that is on its way: what a client does not read, the node keeps. */
struct unread {
    atomic_size_t *node_bytes;
    size_t size_bytes;
    char *bytes;                  /* owned, or NULL */
    struct cached_answer *cached; /* held, or NULL; counted once for all its clients */
};

static void release_unread(void *context)
{
    struct unread *unread = context;
    if (!unread->cached || cached_answer_end_send(unread->cached))
        atomic_fetch_sub(unread->node_bytes, unread->size_bytes);
    cached_answer_release(unread->cached);
    free(unread->bytes);
    free(unread);
}

/* Of `bytes`, which `what` owns or holds: it takes that over. */
static struct MHD_Response *count_unread(struct request *request, char *bytes, struct unread what)
{
    struct unread *unread = malloc(sizeof(*unread));
    if (!unread)
        abort(); /* out of memory */
    *unread = what;
    unread->node_bytes = &request->node->unread_bytes;
    if (!unread->cached || cached_answer_begin_send(unread->cached))
        atomic_fetch_add(unread->node_bytes, unread->size_bytes);
    return MHD_create_response_from_buffer_with_free_callback_cls(unread->size_bytes, bytes,
                                                                  release_unread, unread);
}

/* A writer's buffer grows by doubling, and that of a coded answer is as large as the text was. */
static char *take_bytes(struct json_writer *out)
{
    char *bytes = steal(&out->bytes);
    char *shorter = out->capacity_bytes >= LARGE_BYTES && out->size_bytes > 0
                        ? realloc(bytes, out->size_bytes)
                        : NULL;
    *out = (struct json_writer){0};
    return shorter ? shorter : bytes;
}

void request_answer_text(struct request *request, unsigned status, const char *content_type,
                         struct json_writer *out)
{
    size_t size = out->size_bytes;
    char *bytes = take_bytes(out);
    struct MHD_Response *response =
        size < LARGE_BYTES
            ? MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE)
            : count_unread(request, bytes, (struct unread){.size_bytes = size, .bytes = bytes});
    answer(request, status, response, size);
    request_add_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
}

static void release_cached(void *cached)
{
    cached_answer_release(cached);
}

static struct MHD_Response *cached_response(struct request *request, struct cached_answer *cached)
{
    size_t size = cached->body_size_bytes;
    return size < LARGE_BYTES ? MHD_create_response_from_buffer_with_free_callback_cls(
                                    size, cached->body, release_cached, cached)
                              : count_unread(request, cached->body,
                                             (struct unread){.size_bytes = size, .cached = cached});
}

bool request_refuse_busy(const char *why, struct error *error)
{
    metric_add(METRIC_HTTP_OVERLOADED, 1);
    error_set(error, ERROR_CATALOGUE_UNAVAILABLE, "%s; try again", why);
    error->retry_after_seconds = 1;
    return false;
}

bool request_has_room(const struct request *request, size_t size_bytes)
{
    return size_bytes < LARGE_BYTES ||
           atomic_load(&request->node->unread_bytes) + size_bytes <= UNREAD_BYTES_MAX;
}

/* A change was made, and is told in any case. */
static bool refuse_large(struct request *request, size_t size_bytes)
{
    struct error error;
    bool is_read = strcmp(request->method, MHD_HTTP_METHOD_GET) == 0 ||
                   strcmp(request->method, MHD_HTTP_METHOD_HEAD) == 0;
    if (!is_read || request_has_room(request, size_bytes))
        return false;
    (void)request_refuse_busy("Answers that nobody reads fill this node's memory", &error);
    request_answer_problem(request, &error);
    return true;
}

static void add_coding(struct request *request, enum content_coding coding, bool varies)
{
    if (varies)
        request_add_header(request, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    if (coding != CODING_IDENTITY)
        request_add_header(request, MHD_HTTP_HEADER_CONTENT_ENCODING, content_coding_name(coding));
}

bool request_answer_coded(struct request *request, unsigned status, const char *content_type,
                          struct json_writer *out)
{
    bool varies = content_coding_is_worth(out->size_bytes);
    enum content_coding coding = CODING_IDENTITY;
    if (varies)
        coding = content_coding_apply(content_coding_choose(request->headers.accept_encoding), out);
    if (refuse_large(request, out->size_bytes))
        return false;
    request_answer_text(request, status, content_type, out);
    add_coding(request, coding, varies);
    return true;
}

bool request_answer_json(struct request *request, unsigned status, struct json_writer *out)
{
    json_append(out, "\n", 1);
    return request_answer_coded(request, status, json_media_type, out);
}

void request_answer_empty(struct request *request, unsigned status)
{
    static char nothing[1];
    answer(request, status, MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT), 0);
}

bool request_answer_cached(struct request *request, struct cached_answer *cached)
{
    if (etag_is_named(request->headers.if_none_match, cached->etag)) {
        request_answer_empty(request, 304);
        request_add_header(request, MHD_HTTP_HEADER_ETAG, cached->etag);
        add_coding(request, CODING_IDENTITY, cached->varies);
        cached_answer_release(cached);
        return true;
    }
    if (!cached_answer_is_being_sent(cached) && refuse_large(request, cached->body_size_bytes)) {
        cached_answer_release(cached);
        return false;
    }
    answer(request, 200, cached_response(request, cached), cached->body_size_bytes);
    request_add_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, json_media_type);
    request_add_header(request, MHD_HTTP_HEADER_ETAG, cached->etag);
    add_coding(request, cached->coding, cached->varies);
    return true;
}

void request_answer_pieces(struct request *request, unsigned status, const char *content_type,
                           uint64_t size_bytes, size_t piece_bytes, MHD_ContentReaderCallback next)
{
    answer(request, status,
           MHD_create_response_from_callback(size_bytes, piece_bytes, next, request, NULL),
           size_bytes);
    request_add_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
}

void request_answer_stream(struct request *request, const char *content_type,
                           MHD_ContentReaderCallback read_next)
{
    enum { PIECE_BYTES = 16 * 1024 };
    answer(
        request, 200,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, read_next, request, NULL),
        0);
    request_add_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
}

/* Our own faults are told to the log; the client gets what finds it there. */
const char *request_public_detail(struct request *request, const struct error *error)
{
    if (error->code != ERROR_INTERNAL)
        return error->message;
    LOG(&request->node->log, LOG_ERROR, "internal error", FIELD_TEXT("request_id", request->id),
        FIELD_TEXT("detail", error->message), FIELD_TEXT("sqlstate", error->sqlstate));
    return arena_printf(&request->arena, "This node failed; its log tells how under request_id %s",
                        request->id);
}

void request_count_problem(const struct error *error)
{
    metric_add(METRIC_PROBLEMS, 1, error->code);
    if (error->code == ERROR_FORBIDDEN)
        metric_add(METRIC_AUTH_REFUSED, 1, AUTH_FORBIDDEN);
}

void request_answer_problem(struct request *request, const struct error *error)
{
    cleanup_json_writer struct json_writer out = {0};
    request_count_problem(error);
    struct problem problem = {.error = error,
                              .reference = request->about_reference,
                              .sandboxes = request->about_sandboxes,
                              .detail = request_public_detail(request, error)};
    problem_write(&out, NULL, &problem);
    json_append(&out, "\n", 1);
    request_answer_text(request, (unsigned)error_code_status(error->code), problem_media_type,
                        &out);
    if (request->allow)
        request_add_header(request, MHD_HTTP_HEADER_ALLOW, request->allow);
    if (error->code == ERROR_UNAUTHORIZED && request->challenge)
        request_add_header(request, MHD_HTTP_HEADER_WWW_AUTHENTICATE, request->challenge);
    if (error->code == ERROR_UNSUPPORTED_MEDIA_TYPE)
        request_add_header(request, MHD_HTTP_HEADER_ACCEPT,
                           request->route && request->route->body == BODY_STREAM
                               ? archive_media_types
                               : json_media_type);
    if (error->retry_after_seconds > 0) {
        char seconds[16];
        snprintf(seconds, sizeof(seconds), "%d", error->retry_after_seconds);
        request_add_header(request, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
}

const char *request_query(const struct request *request, const char *name)
{
    return query_value(&request->query, name);
}

bool request_query_bool(const struct request *request, const char *name, bool default_value,
                        bool *value, struct error *error)
{
    const char *text = request_query(request, name);
    *value = text ? strcmp(text, "true") == 0 : default_value;
    if (text && !*value && strcmp(text, "false") != 0)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "The query parameter \"%s\" is \"%s\"; allowed are true and false", name,
                         text);
    return true;
}

bool request_query_limit(const struct request *request, size_t *limit, struct error *error)
{
    const char *text = request_query(request, "limit");
    *limit = DEFAULT_LIMIT;
    if (!text)
        return true;
    char *end = NULL;
    unsigned long value = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || value < 1 || value > MAX_LIMIT)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "The query parameter \"limit\" is \"%s\"; allowed are whole numbers from "
                         "1 to %d",
                         text, MAX_LIMIT);
    *limit = value;
    return true;
}
