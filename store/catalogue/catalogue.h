/* The catalogue: a pool of connections to PostgreSQL, and statements on them.
 *
 * Every statement is a `struct statement` constant beside the function that runs
 * it, prepared once per connection. Calls are asynchronous underneath with a
 * deadline of their own, because a stopped backend ignores libpq's time-outs.
 * A connection that broke (a restart of PostgreSQL) is made anew when it is next
 * acquired; nothing is ever repeated blindly: a statement whose outcome is
 * unknown fails with ERROR_CATALOGUE_UNAVAILABLE, a transaction's COMMIT is
 * looked up (transaction.h).
 *
 * The pool may be used from any thread, a session by one thread at a time.
 */
#ifndef LARDER_STORE_CATALOGUE_CATALOGUE_H
#define LARDER_STORE_CATALOGUE_CATALOGUE_H

#include "store/arena.h"
#include "store/cleanup.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct catalogue;
struct catalogue_session;

struct catalogue_config {
    const char *conninfo; /* a libpq URI or keyword string; copied */
    const char
        *node_id; /* whose connections these are, for nodes.c to see; copied; NULL: nobody's */
    /* Another pool of the same conninfo, which outlives this one: what one finds out about the
     * servers, both know. NULL: none. */
    const struct catalogue *sibling;
    const char *name; /* in pg_stat_activity, without a node_id; copied; NULL: "larder" */
    /* Plan each statement once for all values, whatever PostgreSQL makes of it: for
     * statements that always want their indexes, and are run more often than planned. */
    bool generic_plans;
    /* Asks all the time, and with short time-outs: it finds out for its siblings which servers
     * hang, and which of those are back. */
    bool is_heartbeat;
    unsigned max_sessions;
    unsigned acquire_timeout_ms;   /* how long to wait for a free session */
    unsigned statement_timeout_ms; /* for statements that set none of their own */
};

/* Opens the pool; connects lazily. */
[[nodiscard]] struct catalogue *catalogue_open(const struct catalogue_config *config,
                                               struct error *error);
/* Closes it; no session may be out. NULL is fine. */
void catalogue_close(struct catalogue *catalogue);

/* Applies what is missing of migrations/, one transaction each, one node at a
 * time (advisory lock). Refuses a catalogue newer than this binary knows. */
[[nodiscard]] bool catalogue_migrate(struct catalogue *catalogue, struct error *error);

/* Whether each connection is one of PostgreSQL's own, for as long as it lasts. A pooler that
 * gives a client another one for each transaction would lose locks and prepared statements. */
[[nodiscard]] bool catalogue_check_sessions(struct catalogue *catalogue, struct error *error);

/* The schema version that it brings a catalogue to. */
[[nodiscard]] int64_t catalogue_known_version(void);

/* Has all connections made anew before they are used again, those of pipelines too: they may be to
 * a server that is the primary no longer. Any thread. */
void catalogue_distrust(struct catalogue *catalogue);

/* One round trip; for readiness. */
[[nodiscard]] bool catalogue_ping(struct catalogue *catalogue, struct error *error);

/* A session with a working connection, or NULL: ERROR_CATALOGUE_UNAVAILABLE with
 * retry_after_seconds when PostgreSQL is away or every session stays busy. */
[[nodiscard]] struct catalogue_session *catalogue_acquire(struct catalogue *catalogue,
                                                          struct error *error);
/* Gives it back; rolls back an open transaction. NULL is fine. */
void catalogue_release(struct catalogue_session *session);

static inline void cleanup_session_slot(struct catalogue_session **slot)
{
    catalogue_release(*slot);
}
#define cleanup_session cleanup(cleanup_session_slot)

/* Between two statements: whether PostgreSQL has closed the connection, as far as this
 * machine has heard. A session never gets another one until it is released: what it
 * held ended with the connection, and its statements fail. Costs one poll(2). */
[[nodiscard]] bool session_is_open(struct catalogue_session *session);

/* Whether the transaction that was begun has not failed: PostgreSQL lets go of what it had locked
 * as soon as one of its statements fails. Costs nothing. */
[[nodiscard]] bool session_transaction_holds(const struct catalogue_session *session);

/* A statement: `static const struct statement` beside its caller. */
struct statement {
    const char *name; /* unique in the program: "image_find" */
    const char *sql;  /* with $1…; NULL values are SQL NULLs */
};

/* The rows of an answer; live in the arena. All values are text, as PostgreSQL
 * prints them. */
struct rows {
    size_t count;
    size_t column_count;
    const char *const *values; /* count * column_count; NULL is SQL NULL */
    uint64_t affected;         /* rows that an INSERT, UPDATE or DELETE touched */
};

/* Runs the statement with text parameters and takes its rows. Errors carry the
 * SQLSTATE: constraint violations (class 23), deadlocks and serialization
 * failures (40xxx) are ERROR_INTERNAL with `sqlstate` set, for the caller to
 * tell apart; a lost connection is ERROR_CATALOGUE_UNAVAILABLE. */
[[nodiscard]] bool session_query(struct catalogue_session *session,
                                 const struct statement *statement, const char *const *parameters,
                                 size_t parameter_count, struct arena *arena, struct rows *rows,
                                 struct error *error);

/* session_query() with the parameters listed: QUERY(session, &find, arena, &rows,
 * error, name, tag). At least one parameter. */
#define QUERY(session, statement, arena, rows, error, ...)                                         \
    session_query((session), (statement), (const char *const[]){__VA_ARGS__},                      \
                  sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (arena), (rows),    \
                  (error))

/* Names of rows, in an arena. */
struct id_list {
    const char **ids;
    size_t count;
};

/* Transactions, READ COMMITTED. A session released within one rolls it back. */
[[nodiscard]] bool session_begin(struct catalogue_session *session, struct error *error);
/* One of many that go through a table. Its commit does not wait for PostgreSQL's disk, and may be
 * lost when PostgreSQL dies. Each statement is planned for the table as it is now, and for
 * a part of it: a plan that was made while the table was empty, and is kept, would read all of it
 * each time. */
[[nodiscard]] bool session_begin_batch(struct catalogue_session *session, struct error *error);
/* Gives the statements of this transaction more time than the pool's. */
[[nodiscard]] bool session_extend_timeout(struct catalogue_session *session, unsigned timeout_ms,
                                          struct error *error);
/* A part of the transaction whose failure leaves the rest as it is: what was locked before stays
 * locked. A part that failed is taken back; where that is not possible, the transaction has failed.
 */
[[nodiscard]] bool session_begin_part(struct catalogue_session *session, struct error *error);
void session_end_part(struct catalogue_session *session, bool failed);
[[nodiscard]] bool session_commit(struct catalogue_session *session, struct error *error);
void session_rollback(struct catalogue_session *session);

/* One value of the rows. Numbers and booleans assert that they are not NULL. */
[[nodiscard]] const char *rows_text(const struct rows *rows, size_t row, size_t column);
[[nodiscard]] int64_t rows_int(const struct rows *rows, size_t row, size_t column);
[[nodiscard]] bool rows_bool(const struct rows *rows, size_t row, size_t column);
/* A bytea, decoded into the arena. */
[[nodiscard]] const void *rows_bytes(const struct rows *rows, size_t row, size_t column,
                                     struct arena *arena, size_t *size_bytes);

/* Parameters as text, in the arena. */
[[nodiscard]] const char *parameter_int(struct arena *arena, int64_t value);
[[nodiscard]] const char *parameter_bool(bool value);
[[nodiscard]] const char *parameter_bytes(struct arena *arena, const void *bytes,
                                          size_t size_bytes);
/* An array literal of the strings, quoted; NULL is SQL NULL. */
[[nodiscard]] const char *parameter_text_array(struct arena *arena, const char *const *texts,
                                               size_t count);

#endif
