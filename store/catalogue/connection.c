/* The connection of a session: making it, losing it, waiting for its answers. */
#include "store/catalogue/session_internal.h"

#include "store/metrics.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SETUP_TIMEOUT_MS = 5000,
    /* The 2 s of a connect_timeout may end with a second of the clock: after more than one. */
    HANGS_MS = 900,
    /* PostgreSQL's own statement_timeout answers first and keeps the connection; this
     * much later we stop believing that it will. */
    ANSWER_GRACE_MS = 1000,
    LOOK_EVERY_MS = 250, /* whether another server took over */
    /* FATAL and end of file take two reads; more than this many is no goodbye. */
    IDLE_READS_MAX = 8,
};

int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* libpq's messages end in a newline and may have several lines. */
static void one_line(const char *message, char *line, size_t size)
{
    snprintf(line, size, "%s", message ? message : "");
    for (size_t end = strlen(line); end > 0 && line[end - 1] == '\n'; end--)
        line[end - 1] = '\0';
    for (char *c = line; *c; c++)
        if (*c == '\n' || *c == '\t')
            *c = ' ';
}

static bool set_unavailable(struct error *error, const char *what, const char *why)
{
    char line[512];
    one_line(why, line, sizeof(line));
    error_set(error, ERROR_CATALOGUE_UNAVAILABLE, "%s: %s", what, line);
    error->retry_after_seconds = 1;
    return false;
}

void session_disconnect(struct catalogue_session *session)
{
    PQfinish(session->connection);
    session->connection = NULL;
    session->prepared.count = 0;
}

static void ignore_notice(void *unused, const PGresult *notice)
{
    (void)unused;
    (void)notice;
}

static bool set_up(struct catalogue_session *session, struct error *error)
{
    char sql[1024];
    /* PostgreSQL's side of a connection that a cut ended on ours alone would keep its locks for
     * the two hours of the system's keepalives. It must not let go before we do, nor within the 5 s
     * for which the reaper trusts its locks, so it takes 9 s; after 11 s others end it anyway. */
    snprintf(sql, sizeof(sql),
             "SET application_name = '%s'; " /* wins over the conninfo's */
             "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; "
             "SET tcp_keepalives_count = 7; SET tcp_user_timeout = 9000; "
             "SET statement_timeout = %u; SET idle_session_timeout = 0; " /* locks are kept idle */
             "SET client_min_messages = error; SET jit = off; " /* it takes longer than they do */
             /* What counts for the gauges must not take every processor from those who wait. It is
              * no slower: what PostgreSQL cannot divide, each of its workers does as a whole. */
             "SET max_parallel_workers_per_gather = 0; "
             "SET bytea_output = 'hex'; SET default_transaction_isolation = 'read committed'; "
             "SET plan_cache_mode = %s",
             session->application_name, session->statement_timeout_ms,
             session->generic_plans ? "force_generic_plan" : "auto");
    return session_execute(session, sql,
                           session->is_heartbeat ? session->statement_timeout_ms : SETUP_TIMEOUT_MS,
                           error);
}

/* A conninfo may ask for any server. PostgreSQL before 14 does not say which it is. */
static bool is_standby(const PGconn *connection)
{
    const char *in_hot_standby = PQparameterStatus(connection, "in_hot_standby");
    return in_hot_standby && strcmp(in_hot_standby, "on") == 0;
}

/* What the conninfo may say otherwise. connect_timeout bounds each address; a standby is passed
 * over. A host that fell off the network is noticed within some 5 s, idle or not. */
static void add_defaults(struct server_conninfo *conninfo)
{
    static const struct {
        const char *keyword;
        const char *value;
    } rows[] = {
        {"connect_timeout", "2"},  {"target_session_attrs", "read-write"},
        {"keepalives_idle", "2"},  {"keepalives_interval", "1"},
        {"keepalives_count", "3"}, {"tcp_user_timeout", "5000"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        server_conninfo_add(conninfo, rows[i].keyword, rows[i].value);
}

static bool open_connection(struct catalogue_session *session,
                            const struct server_conninfo *conninfo, struct error *error)
{
    int64_t begun_ms = monotonic_ms();
    session->connection = PQconnectdbParams(conninfo->keywords, conninfo->values, 0);
    bool is_open = PQstatus(session->connection) == CONNECTION_OK;
    if (is_open || monotonic_ms() - begun_ms < HANGS_MS)
        servers_answers(session->servers, session->server);
    else
        servers_hangs(session->servers, session->server);
    return is_open || set_unavailable(error, "cannot connect to PostgreSQL",
                                      PQerrorMessage(session->connection));
}

static bool connect_to(struct catalogue_session *session, const struct server_conninfo *conninfo,
                       struct error *error)
{
    if (!open_connection(session, conninfo, error))
        return false;
    metric_add(METRIC_CATALOGUE_CONNECTS, 1);
    PQsetNoticeReceiver(session->connection, ignore_notice, NULL);
    if (PQsetnonblocking(session->connection, 1) != 0)
        return error_set(error, ERROR_INTERNAL, "PostgreSQL's connection cannot be non-blocking");
    if (!set_up(session, error))
        return error_context(error, "cannot set up a connection to PostgreSQL");
    if (!is_standby(session->connection))
        servers_put_first(session->servers, session->server);
    return true;
}

/* What goes wrong is added to what went wrong before. */
static bool try_server(struct catalogue_session *session, const struct server_conninfo *conninfo,
                       struct error *error)
{
    struct error before = *error;
    *error = (struct error){0};
    if (connect_to(session, conninfo, error))
        return true;
    session_disconnect(session);
    return before.message[0] ? error_context(error, "%s", before.message) : false;
}

bool session_connect(struct catalogue_session *session, struct error *error)
{
    struct servers_walk walk = {.is_heartbeat = session->is_heartbeat};
    *error = (struct error){0};
    session->distrusts = servers_distrusts(session->servers);
    for (;;) {
        struct server_conninfo conninfo = {0};
        add_defaults(&conninfo);
        if (!servers_next(session->servers, &walk, &conninfo))
            break;
        server_conninfo_add(&conninfo, "client_encoding", "UTF8");
        session->server = walk.server;
        if (try_server(session, &conninfo, error))
            return true;
    }
    if (!error->message[0])
        return set_unavailable(error, "cannot connect to PostgreSQL", "all its servers hang");
    return walk.left_out > 0
               ? error_context(error, "left out, for they hang: %zu servers", walk.left_out)
               : false;
}

bool session_transaction_holds(const struct catalogue_session *session)
{
    return session->connection && PQtransactionStatus(session->connection) == PQTRANS_INTRANS;
}

bool session_is_open(struct catalogue_session *session)
{
    for (int reads = 0; session->connection && reads < IDLE_READS_MAX; reads++) {
        struct pollfd socket = {.fd = PQsocket(session->connection), .events = POLLIN};
        int ready = poll(&socket, 1, 0);
        if (ready == 0)
            return true;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0 || !PQconsumeInput(session->connection))
            break;
        (void)PQisBusy(session->connection); /* parses what came: parameters, notices */
    }
    session_disconnect(session);
    return false;
}

bool session_is_alive(struct catalogue_session *session)
{
    if (!session_is_open(session))
        return false;
    if (PQtransactionStatus(session->connection) == PQTRANS_IDLE &&
        session->distrusts == servers_distrusts(session->servers))
        return true;
    session_disconnect(session);
    return false;
}

/* The heartbeat's patience is too short for the connections of others to be distrusted. */
static void give_up_on_server(struct catalogue_session *session)
{
    servers_hangs(session->servers, session->server);
    if (!session->is_heartbeat)
        servers_distrust(session->servers);
}

/* Sends what is left and reads until an answer is complete. */
static bool wait_for_answer(struct catalogue_session *session, int64_t deadline_ms,
                            const char *what, struct error *error)
{
    PGconn *connection = session->connection;
    for (;;) {
        int unsent = PQflush(connection);
        if (unsent < 0)
            return set_unavailable(error, what, PQerrorMessage(connection));
        if (unsent == 0 && !PQisBusy(connection))
            return true;
        int64_t left_ms = deadline_ms - monotonic_ms();
        if (servers_is_replaced(session->servers, session->server))
            return set_unavailable(error, what, "PostgreSQL hangs, and another one took its place");
        if (left_ms <= 0) {
            give_up_on_server(session);
            return set_unavailable(error, what, "PostgreSQL did not answer in time");
        }
        struct pollfd socket = {.fd = PQsocket(connection),
                                .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
        int ready = poll(&socket, 1, left_ms < LOOK_EVERY_MS ? (int)left_ms : LOOK_EVERY_MS);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(error, ERROR_INTERNAL, errno, "%s: poll", what);
        if (ready > 0 && (socket.revents & ~POLLOUT) && !PQconsumeInput(connection))
            return set_unavailable(error, what, PQerrorMessage(connection));
    }
}

static enum error_code code_of_sqlstate(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        enum error_code code;
    } rows[] = {
        {"08", ERROR_CATALOGUE_UNAVAILABLE},    /* connection */
        {"57P", ERROR_CATALOGUE_UNAVAILABLE},   /* shutting down, starting up */
        {"57014", ERROR_CATALOGUE_UNAVAILABLE}, /* statement_timeout */
        {"25006", ERROR_CATALOGUE_UNAVAILABLE}, /* became a standby */
        {"53100", ERROR_STORAGE_FULL},          /* its disk is full */
        {"53", ERROR_CATALOGUE_UNAVAILABLE},    /* out of memory or connections */
        /* What a caller gave and PostgreSQL cannot read: not UTF-8, \u0000 in JSON,
         * numbers and times out of range, a page token that was tampered with. */
        {"22021", ERROR_INVALID_ARGUMENT},
        {"22P05", ERROR_INVALID_ARGUMENT},
        {"22003", ERROR_INVALID_ARGUMENT},
        {"22007", ERROR_INVALID_ARGUMENT},
        {"22008", ERROR_INVALID_ARGUMENT},
        {"22P02", ERROR_INVALID_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strncmp(sqlstate, rows[i].prefix, strlen(rows[i].prefix)) == 0)
            return rows[i].code;
    return ERROR_INTERNAL;
}

void session_error_of(const PGresult *result, const char *what, struct error *error)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char line[512];
    one_line(primary ? primary : PQresultErrorMessage(result), line, sizeof(line));
    /* libpq gives errors of its own without a SQLSTATE: the connection broke. */
    enum error_code code = sqlstate ? code_of_sqlstate(sqlstate) : ERROR_CATALOGUE_UNAVAILABLE;
    error_set(error, code, "%s: %s", what, line);
    if (sqlstate)
        snprintf(error->sqlstate, sizeof(error->sqlstate), "%s", sqlstate);
    if (code == ERROR_CATALOGUE_UNAVAILABLE)
        error->retry_after_seconds = 1;
}

static bool is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY;
}

/* The next result that matters: *done when there is no more. */
static bool take_result(struct catalogue_session *session, PGresult **kept, bool *done)
{
    PGresult *result = PQgetResult(session->connection);
    *done = !result;
    if (result && (!*kept || !is_error(*kept))) {
        PQclear(*kept);
        *kept = result;
    } else {
        PQclear(result);
    }
    return PQstatus(session->connection) == CONNECTION_OK;
}

static PGresult *receive(struct catalogue_session *session, unsigned timeout_ms, const char *what,
                         struct error *error)
{
    int64_t deadline_ms = monotonic_ms() + timeout_ms + ANSWER_GRACE_MS;
    cleanup_result PGresult *kept = NULL;
    bool connected = true;
    for (bool done = false; !done && connected;) {
        if (!wait_for_answer(session, deadline_ms, what, error)) {
            session_disconnect(session);
            return NULL;
        }
        servers_answers(session->servers, session->server);
        connected = take_result(session, &kept, &done);
    }
    if (kept && !is_error(kept) && connected)
        return steal(&kept);
    if (kept && is_error(kept))
        session_error_of(kept, what, error);
    else
        set_unavailable(error, what, "the connection to PostgreSQL was lost");
    /* A server that turned into a standby will not turn back: choose a host anew. */
    if (!connected || strcmp(error->sqlstate, "25006") == 0)
        session_disconnect(session);
    return NULL;
}

PGresult *session_receive(struct catalogue_session *session, unsigned timeout_ms, const char *what,
                          struct error *error)
{
    int64_t begun_us = metric_now_us();
    PGresult *result = receive(session, timeout_ms, what, error);
    metric_observe(METRIC_CATALOGUE_ROUND_TRIP_SECONDS, metric_now_us() - begun_us);
    if (!result)
        metric_add(METRIC_CATALOGUE_ERRORS, 1);
    return result;
}

bool session_execute(struct catalogue_session *session, const char *sql, unsigned timeout_ms,
                     struct error *error)
{
    if (!session->connection)
        return set_unavailable(error, "catalogue", "the connection to PostgreSQL was lost");
    if (!PQsendQuery(session->connection, sql)) {
        set_unavailable(error, "catalogue", PQerrorMessage(session->connection));
        session_disconnect(session);
        return false;
    }
    char what[48];
    snprintf(what, sizeof(what), "%.*s", (int)strcspn(sql, ";\n"), sql);
    cleanup_result PGresult *result = session_receive(session, timeout_ms, what, error);
    return result != NULL;
}
