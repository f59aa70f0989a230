#include "store/catalogue/pipeline.h"

#include "store/catalogue/session_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    TRIES_MAX = 3,
    STATEMENT_TIMEOUT_MS = PIPELINE_SILENCE_MAX_MS,
};

/* What PostgreSQL will answer next, in order. */
struct expected {
    enum { EXPECT_PREPARED, EXPECT_ROWS, EXPECT_SYNC } what;
    struct pipeline_query *query; /* of EXPECT_ROWS */
};

struct pipeline_connection {
    PGconn *connection; /* owned */
    size_t server;
    unsigned distrusts; /* of the servers, when it was made */
};

struct pipeline {
    struct servers *servers; /* the catalogue's */
    int epoll_fd;
    void *epoll_data;
    void (*lost)(void *context);
    void *context;
    bool is_away;

    PGconn *connection; /* owned; NULL: none */
    size_t server;
    unsigned distrusts;
    bool wants_write;
    struct prepared prepared; /* on the connection */

    struct pipeline_query *waiting; /* first come first */
    struct pipeline_query **waiting_end;
    size_t query_count; /* waiting and expected */

    struct expected *expected; /* owned; a ring */
    size_t expected_capacity;
    size_t expected_first;
    size_t expected_count;
    PGresult *kept; /* owned; of the first expected */
};

struct pipeline *pipeline_new(const struct catalogue *catalogue, int epoll_fd, void *epoll_data,
                              void (*lost)(void *context), void *context)
{
    struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
    if (!pipeline)
        abort();
    *pipeline = (struct pipeline){.servers = catalogue_servers(catalogue),
                                  .epoll_fd = epoll_fd,
                                  .epoll_data = epoll_data,
                                  .lost = lost,
                                  .context = context};
    pipeline->waiting_end = &pipeline->waiting;
    return pipeline;
}

static void wait_last(struct pipeline *pipeline, struct pipeline_query *query)
{
    query->next = NULL;
    query->sent_ms = 0;
    *pipeline->waiting_end = query;
    pipeline->waiting_end = &query->next;
}

static void finish(struct pipeline *pipeline, struct pipeline_query *query, const struct rows *rows,
                   const struct error *error)
{
    pipeline->query_count--;
    query->done(query, rows, error);
}

static void fail_unavailable(struct pipeline *pipeline, struct pipeline_query *query,
                             const char *why)
{
    struct error error;
    error_set(&error, ERROR_CATALOGUE_UNAVAILABLE, "%s: %s", query->statement->name, why);
    error.retry_after_seconds = 1;
    finish(pipeline, query, NULL, &error);
}

/* --- what is expected --- */

static void expect(struct pipeline *pipeline, struct expected one)
{
    if (pipeline->expected_count == pipeline->expected_capacity) {
        size_t capacity = pipeline->expected_capacity ? 2 * pipeline->expected_capacity : 64;
        struct expected *ring = calloc(capacity, sizeof(*ring));
        if (!ring)
            abort();
        for (size_t i = 0; i < pipeline->expected_count; i++)
            ring[i] =
                pipeline->expected[(pipeline->expected_first + i) % pipeline->expected_capacity];
        free(pipeline->expected);
        pipeline->expected = ring;
        pipeline->expected_capacity = capacity;
        pipeline->expected_first = 0;
    }
    size_t last =
        (pipeline->expected_first + pipeline->expected_count++) % pipeline->expected_capacity;
    pipeline->expected[last] = one;
}

static struct expected *first_expected(struct pipeline *pipeline)
{
    return pipeline->expected_count > 0 ? &pipeline->expected[pipeline->expected_first] : NULL;
}

static struct expected take_expected(struct pipeline *pipeline)
{
    assert(pipeline->expected_count > 0);
    struct expected one = pipeline->expected[pipeline->expected_first];
    pipeline->expected_first = (pipeline->expected_first + 1) % pipeline->expected_capacity;
    pipeline->expected_count--;
    return one;
}

/* --- the connection --- */

struct pipeline_connection *pipeline_connect(struct catalogue *catalogue, struct error *error)
{
    struct catalogue_session session = {.application_name = "larder loop",
                                        .generic_plans = true,
                                        .statement_timeout_ms = STATEMENT_TIMEOUT_MS};
    struct pipeline_connection *connection = malloc(sizeof(*connection));
    if (!connection)
        abort();
    if (!catalogue_connect(catalogue, &session, error)) {
        free(connection);
        return NULL;
    }
    *connection =
        (struct pipeline_connection){session.connection, session.server, session.distrusts};
    if (PQenterPipelineMode(connection->connection))
        return connection;
    pipeline_discard(connection);
    error_set(error, ERROR_INTERNAL, "PostgreSQL's connection cannot be pipelined");
    return NULL;
}

void pipeline_discard(struct pipeline_connection *connection)
{
    if (!connection)
        return;
    PQfinish(connection->connection);
    free(connection);
}

static void watch_socket(struct pipeline *pipeline, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (pipeline->wants_write ? EPOLLOUT : 0U),
                                .data.ptr = pipeline->epoll_data};
    if (epoll_ctl(pipeline->epoll_fd, operation, PQsocket(pipeline->connection), &event) != 0)
        abort(); /* our own epoll and an open socket: only memory can be missing */
}

void pipeline_attach(struct pipeline *pipeline, struct pipeline_connection *connection)
{
    assert(!pipeline->connection);
    pipeline->connection = connection->connection;
    pipeline->server = connection->server;
    pipeline->distrusts = connection->distrusts;
    free(connection);
    pipeline->is_away = false;
    watch_socket(pipeline, EPOLL_CTL_ADD);
}

/* Closes the connection. What it was asked waits again, before what waited already. */
static void give_up(struct pipeline *pipeline)
{
    struct pipeline_query *behind = pipeline->waiting;
    struct pipeline_query **behind_end = pipeline->waiting_end;
    pipeline->waiting = NULL;
    pipeline->waiting_end = &pipeline->waiting;
    while (pipeline->expected_count > 0) {
        struct expected one = take_expected(pipeline);
        if (one.what == EXPECT_ROWS)
            wait_last(pipeline, one.query);
    }
    if (behind) {
        *pipeline->waiting_end = behind;
        pipeline->waiting_end = behind_end;
    }
    PQclear(pipeline->kept);
    pipeline->kept = NULL;
    PQfinish(pipeline->connection); /* which takes its socket out of the epoll */
    pipeline->connection = NULL;
    pipeline->wants_write = false;
    pipeline->prepared.count = 0;
}

static void lose(struct pipeline *pipeline)
{
    give_up(pipeline);
    pipeline->lost(pipeline->context);
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    give_up(pipeline);
    pipeline->is_away = true; /* who asks for more when told is refused */
    while (pipeline->waiting) {
        struct pipeline_query *query = pipeline->waiting;
        pipeline->waiting = query->next;
        fail_unavailable(pipeline, query, "this node ends");
    }
    prepared_free(&pipeline->prepared);
    free(pipeline->expected);
    free(pipeline);
}

/* --- sending --- */

bool pipeline_submit(struct pipeline *pipeline, struct pipeline_query *query, struct error *error)
{
    assert(query->parameter_count <= PIPELINE_PARAMETERS_MAX);
    if (pipeline->is_away || pipeline->query_count >= PIPELINE_QUERIES_MAX) {
        error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
                  pipeline->is_away ? "PostgreSQL does not answer" : "this node is busy");
        error->retry_after_seconds = 1;
        return false;
    }
    query->tries = 0;
    pipeline->query_count++;
    wait_last(pipeline, query);
    return true;
}

static bool prepare(struct pipeline *pipeline, const struct statement *statement)
{
    if (prepared_has(&pipeline->prepared, statement))
        return true;
    if (!PQsendPrepare(pipeline->connection, statement->name, statement->sql, 0, NULL))
        return false;
    expect(pipeline, (struct expected){.what = EXPECT_PREPARED});
    prepared_add(&pipeline->prepared, statement);
    return true;
}

static bool send_query(struct pipeline *pipeline, struct pipeline_query *query)
{
    if (!prepare(pipeline, query->statement) ||
        !PQsendQueryPrepared(pipeline->connection, query->statement->name,
                             (int)query->parameter_count, query->parameters, NULL, NULL, 0))
        return false;
    query->sent_ms = monotonic_ms();
    query->tries++;
    expect(pipeline, (struct expected){.what = EXPECT_ROWS, .query = query});
    return true;
}

static bool send_sync(struct pipeline *pipeline)
{
    if (!PQpipelineSync(pipeline->connection))
        return false;
    expect(pipeline, (struct expected){.what = EXPECT_SYNC});
    return true;
}

static bool flush_socket(struct pipeline *pipeline)
{
    int unsent = PQflush(pipeline->connection);
    bool wants_write = unsent > 0;
    if (unsent >= 0 && wants_write != pipeline->wants_write) {
        pipeline->wants_write = wants_write;
        watch_socket(pipeline, EPOLL_CTL_MOD);
    }
    return unsent >= 0;
}

/* One that stood behind an error goes alone the next time, so that no error of others
 * can keep it waiting. */
static bool send_waiting(struct pipeline *pipeline)
{
    bool open = false;
    while (pipeline->waiting) {
        struct pipeline_query *query = pipeline->waiting;
        bool alone = query->tries > 0;
        if (alone && open && !send_sync(pipeline))
            return false;
        if (!send_query(pipeline, query))
            return false;
        pipeline->waiting = query->next;
        if (!pipeline->waiting)
            pipeline->waiting_end = &pipeline->waiting;
        if (alone && !send_sync(pipeline))
            return false;
        open = !alone;
    }
    return (!open || send_sync(pipeline)) && flush_socket(pipeline);
}

void pipeline_flush(struct pipeline *pipeline)
{
    if (!pipeline->connection || !pipeline->waiting)
        return;
    bool trusted = pipeline->distrusts == servers_distrusts(pipeline->servers);
    if (!trusted || !send_waiting(pipeline))
        lose(pipeline);
}

/* --- receiving --- */

/* False when the connection is to be given up, with the query waiting again. */
static bool take_rows(struct pipeline *pipeline, struct pipeline_query *query, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        cleanup_arena struct arena arena = {0};
        struct rows rows;
        rows_of_result(result, false, &arena, &rows);
        finish(pipeline, query, &rows, NULL);
        return true;
    }
    if (status == PGRES_PIPELINE_ABORTED && query->tries < TRIES_MAX) {
        wait_last(pipeline, query);
        return true;
    }
    struct error error = {0};
    session_error_of(result, query->statement->name, &error);
    bool gone = error.code == ERROR_CATALOGUE_UNAVAILABLE && strcmp(error.sqlstate, "57014") != 0;
    if (gone && query->tries < TRIES_MAX) {
        wait_last(pipeline, query);
        return false;
    }
    finish(pipeline, query, NULL, &error);
    return !gone;
}

/* The first of what was expected is complete: `kept` is its result. */
static bool take_answer(struct pipeline *pipeline)
{
    struct expected one = take_expected(pipeline);
    cleanup_result PGresult *result = steal(&pipeline->kept);
    if (one.what == EXPECT_ROWS)
        return take_rows(pipeline, one.query, result);
    if (one.what == EXPECT_PREPARED && PQresultStatus(result) != PGRES_COMMAND_OK)
        pipeline->prepared.count = 0; /* known or not, they are all told anew on another one */
    return one.what != EXPECT_PREPARED || PQresultStatus(result) == PGRES_COMMAND_OK;
}

/* Every answer is one result and then NULL; a sync is a result alone. */
static bool take_results(struct pipeline *pipeline)
{
    while (!PQisBusy(pipeline->connection)) {
        servers_answers(pipeline->servers, pipeline->server);
        PGresult *result = PQgetResult(pipeline->connection);
        struct expected *first = first_expected(pipeline);
        if (!result && !pipeline->kept)
            break; /* that was all */
        if (result && !first) {
            PQclear(result);
            return false; /* PostgreSQL says goodbye */
        }
        if (result && pipeline->kept) {
            PQclear(result);
            continue;
        }
        if (result)
            pipeline->kept = result;
        if ((!result || first->what == EXPECT_SYNC) && !take_answer(pipeline))
            return false;
    }
    return PQstatus(pipeline->connection) == CONNECTION_OK;
}

void pipeline_receive(struct pipeline *pipeline)
{
    if (!pipeline->connection)
        return;
    bool alive =
        PQconsumeInput(pipeline->connection) && take_results(pipeline) && flush_socket(pipeline);
    if (!alive)
        lose(pipeline);
}

/* --- time --- */

static void expire_waiting(struct pipeline *pipeline, int64_t now_ms)
{
    for (struct pipeline_query **slot = &pipeline->waiting; *slot;) {
        struct pipeline_query *query = *slot;
        if (query->deadline_ms > now_ms) {
            slot = &query->next;
            continue;
        }
        *slot = query->next;
        if (!query->next)
            pipeline->waiting_end = slot;
        pipeline->is_away |= !pipeline->connection;
        fail_unavailable(pipeline, query, "PostgreSQL did not answer in time");
    }
}

/* The query that was sent first and is not answered yet. */
static const struct pipeline_query *oldest_sent(struct pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->expected_count; i++) {
        const struct expected *one =
            &pipeline->expected[(pipeline->expected_first + i) % pipeline->expected_capacity];
        if (one->what == EXPECT_ROWS)
            return one->query;
    }
    return NULL;
}

int pipeline_expire(struct pipeline *pipeline)
{
    int64_t now_ms = monotonic_ms();
    const struct pipeline_query *oldest = oldest_sent(pipeline);
    if (oldest && now_ms >= oldest->sent_ms + PIPELINE_SILENCE_MAX_MS) {
        servers_hangs(pipeline->servers, pipeline->server);
        lose(pipeline);
    }
    expire_waiting(pipeline, now_ms);
    if (pipeline->query_count == 0)
        return -1;
    oldest = oldest_sent(pipeline);
    int64_t next_ms = oldest ? oldest->sent_ms + PIPELINE_SILENCE_MAX_MS : INT64_MAX;
    for (const struct pipeline_query *query = pipeline->waiting; query; query = query->next)
        if (query->deadline_ms < next_ms)
            next_ms = query->deadline_ms;
    return next_ms > now_ms ? (int)(next_ms - now_ms) : 0;
}
