/* Statements and transactions on a session. */
#include "store/catalogue/session_internal.h"

#include <stdlib.h>
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

static bool is_prepared(const struct catalogue_session *session, const struct statement *statement)
{
    for (size_t i = 0; i < session->prepared_count; i++)
        if (session->prepared[i] == statement)
            return true;
    return false;
}

static void remember_prepared(struct catalogue_session *session, const struct statement *statement)
{
    if (session->prepared_count == session->prepared_capacity) {
        size_t capacity = session->prepared_capacity ? 2 * session->prepared_capacity : 32;
        const struct statement **grown =
            reallocarray(session->prepared, capacity, sizeof(struct statement *));
        if (!grown)
            abort();
        session->prepared = grown;
        session->prepared_capacity = capacity;
    }
    session->prepared[session->prepared_count++] = statement;
}

static bool prepare(struct catalogue_session *session, const struct statement *statement,
                    struct error *error)
{
    if (!session->connection)
        return connection_lost(session, statement, error);
    if (is_prepared(session, statement))
        return true;
    if (!PQsendPrepare(session->connection, statement->name, statement->sql, 0, NULL))
        return connection_lost(session, statement, error);
    cleanup_result PGresult *result =
        session_receive(session, session->statement_timeout_ms, statement->name, error);
    if (!result)
        return false;
    remember_prepared(session, statement);
    return true;
}

/* Copies the values, for the result goes. */
static void rows_take(PGresult *result, struct arena *arena, struct rows *rows)
{
    int row_count = PQntuples(result);
    int column_count = PQnfields(result);
    *rows = (struct rows){.count = (size_t)row_count,
                          .column_count = (size_t)column_count,
                          .affected = strtoull(PQcmdTuples(result), NULL, 10)};
    if (row_count == 0)
        return;
    const char **values =
        arena_alloc_array(arena, rows->count * rows->column_count, sizeof(*values));
    for (int row = 0; row < row_count; row++)
        for (int column = 0; column < column_count; column++)
            if (!PQgetisnull(result, row, column))
                values[(size_t)row * rows->column_count + (size_t)column] =
                    arena_strndup(arena, PQgetvalue(result, row, column),
                                  (size_t)PQgetlength(result, row, column));
    rows->values = values;
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
    rows_take(result, arena, rows);
    return true;
}

bool session_begin(struct catalogue_session *session, struct error *error)
{
    return session_execute(session, "BEGIN", session->statement_timeout_ms, error);
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
