/* Statements and transactions on a session. */
#include "store/catalogue/session_internal.h"

#include <string.h>

static bool connection_lost(struct catalogue_session *session, const struct statement *statement,
                            struct error *error)
{
    const char *why = session->connection ? PQerrorMessage(session->connection)
                                          : "the connection to PostgreSQL was lost";
    error_set(error, ERROR_CATALOGUE_UNAVAILABLE, "%s: %.*s", statement->name,
              (int)strcspn(why, "\n"), why);
    error->retry_after_seconds = 1;
    session_disconnect(session);
    return false;
}

static bool prepare(struct catalogue_session *session, const struct statement *statement,
                    struct error *error)
{
    if (!session->connection)
        return connection_lost(session, statement, error);
    if (prepared_has(&session->prepared, statement))
        return true;
    if (!PQsendPrepare(session->connection, statement->name, statement->sql, 0, NULL))
        return connection_lost(session, statement, error);
    cleanup_result PGresult *result =
        session_receive(session, session->statement_timeout_ms, statement->name, error);
    if (!result)
        return false;
    prepared_add(&session->prepared, statement);
    return true;
}

bool session_query(struct catalogue_session *session, const struct statement *statement,
                   const char *const *parameters, size_t parameter_count, struct arena *arena,
                   struct rows *rows, struct error *error)
{
    if (!prepare(session, statement, error))
        return false;
    if (!PQsendQueryPrepared(session->connection, statement->name, (int)parameter_count, parameters,
                             NULL, NULL, 0))
        return connection_lost(session, statement, error);
    cleanup_result PGresult *result =
        session_receive(session, session->statement_timeout_ms, statement->name, error);
    if (!result)
        return false;
    rows_of_result(result, true, arena, rows);
    return true;
}

bool session_begin(struct catalogue_session *session, struct error *error)
{
    return session_execute(session, "BEGIN", session->statement_timeout_ms, error);
}

bool session_begin_batch(struct catalogue_session *session, struct error *error)
{
    return session_execute(session,
                           "BEGIN; SET LOCAL synchronous_commit = off;"
                           " SET LOCAL enable_seqscan = off;"
                           " SET LOCAL plan_cache_mode = force_custom_plan",
                           session->statement_timeout_ms, error);
}

bool session_extend_timeout(struct catalogue_session *session, unsigned timeout_ms,
                            struct error *error)
{
    static const struct statement extend = {"session_extend_timeout",
                                            "SELECT set_config('statement_timeout', $1, true)"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(session, &extend, &arena, &rows, error, parameter_int(&arena, timeout_ms)))
        return false;
    session->statement_timeout_ms = timeout_ms;
    return true;
}

bool session_begin_part(struct catalogue_session *session, struct error *error)
{
    return session_execute(session, "SAVEPOINT part", session->statement_timeout_ms, error);
}

void session_end_part(struct catalogue_session *session, bool failed)
{
    const char *end = failed ? "ROLLBACK TO part; RELEASE part" : "RELEASE part";
    struct error ignored; /* then the transaction has failed, and says so */
    if (session->connection)
        (void)session_execute(session, end, session->statement_timeout_ms, &ignored);
}

/* Ends the transaction, and with it what was set for it. */
static bool end(struct catalogue_session *session, const char *how, struct error *error)
{
    bool ended = session_execute(session, how, session->statement_timeout_ms, error);
    session->statement_timeout_ms = session->default_timeout_ms;
    return ended;
}

bool session_commit(struct catalogue_session *session, struct error *error)
{
    /* COMMIT of a failed transaction answers ROLLBACK, and that is no error to libpq. */
    if (session->connection && PQtransactionStatus(session->connection) != PQTRANS_INTRANS) {
        session_rollback(session);
        return error_set(error, ERROR_INTERNAL, "COMMIT: the transaction had failed before");
    }
    return end(session, "COMMIT", error);
}

void session_rollback(struct catalogue_session *session)
{
    if (!session->connection || PQtransactionStatus(session->connection) == PQTRANS_IDLE) {
        session->statement_timeout_ms = session->default_timeout_ms;
        return;
    }
    struct error ignored = {0};
    if (!end(session, "ROLLBACK", &ignored))
        session_disconnect(session);
}
