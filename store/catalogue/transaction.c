#include "store/catalogue/transaction.h"

#include "store/catalogue/session_internal.h"
#include "store/crash_point.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    MAX_TRIES = 5,
    /* A promotion takes seconds; whoever asked has waited for them already. */
    RESOLVE_TIMEOUT_MS = 10000,
    RESOLVE_PAUSE_MS = 200,
    COMMIT_ID_SIZE = 36 + 1,
};

/* The last that a transaction writes: there as long as it, and only with all of it. */
static bool write_commit_row(struct catalogue_session *session, char id[COMMIT_ID_SIZE],
                             struct error *error)
{
    static const struct statement write = {
        "commit_write", "INSERT INTO commits (committed) VALUES (true) RETURNING id"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!session_query(session, &write, NULL, 0, &arena, &rows, error))
        return false;
    snprintf(id, COMMIT_ID_SIZE, "%s", rows_text(&rows, 0, 0));
    return true;
}

/* Writes the row itself. It waits for a COMMIT that is still under way; when it is the first, that
 * transaction did not commit and never will, also when its backend hears of it only later. The
 * status of a transaction's number would not do: after a failover another may have its number. */
static bool find_outcome(struct catalogue *catalogue, const char *id, bool *committed,
                         struct error *error)
{
    static const struct statement resolve = {
        "commit_resolve", "INSERT INTO commits (id, committed) VALUES ($1::uuid, false)"
                          " ON CONFLICT (id) DO UPDATE SET made_at = excluded.made_at"
                          " RETURNING committed"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &resolve, &arena, &rows, error, id))
        return false;
    *committed = rows_bool(&rows, 0, 0);
    return true;
}

/* The connection broke during COMMIT: did it happen? */
static bool resolve_commit(struct catalogue_session *session, const char *id, struct error *error)
{
    const int64_t deadline_ms = monotonic_ms() + RESOLVE_TIMEOUT_MS;
    bool committed = false;
    struct error why;
    while (!find_outcome(session->catalogue, id, &committed, &why)) {
        if (monotonic_ms() >= deadline_ms)
            return error_context(error, "whether it was done is not known");
        nanosleep(&(struct timespec){.tv_nsec = RESOLVE_PAUSE_MS * 1000000L}, NULL);
    }
    if (committed)
        *error = (struct error){0};
    return committed || error_context(error, "nothing was done");
}

static bool try_once(struct catalogue_session *session, transaction_body *body, void *context,
                     bool keep, struct error *error)
{
    if (!session_begin(session, error))
        return false;
    if (!body(session, context, error)) {
        session_rollback(session);
        return false;
    }
    if (keep) {
        char id[COMMIT_ID_SIZE];
        if (!write_commit_row(session, id, error)) {
            session_rollback(session);
            return false;
        }
        CRASH_POINT(TRANSACTION_WRITTEN);
        if (!session_commit(session, error) &&
            (error->code != ERROR_CATALOGUE_UNAVAILABLE || !resolve_commit(session, id, error)))
            return false;
        CRASH_POINT(TRANSACTION_DONE);
        return true;
    }
    session_rollback(session);
    return true;
}

/* PostgreSQL documentation, appendix A: these say that nothing was done. */
static bool may_retry(const struct error *error)
{
    return strcmp(error->sqlstate, "40P01") == 0 || /* deadlock_detected */
           strcmp(error->sqlstate, "40001") == 0 || /* serialization_failure */
           strcmp(error->sqlstate, "23503") == 0 || /* foreign_key_violation */
           strcmp(error->sqlstate, "23505") == 0;   /* unique_violation */
}

static bool run(struct catalogue_session *session, transaction_body *body, void *context, bool keep,
                struct error *error)
{
    for (int tries = 1;; tries++) {
        if (try_once(session, body, context, keep, error))
            return true;
        if (tries == MAX_TRIES || !may_retry(error))
            return false;
    }
}

bool session_transact(struct catalogue_session *session, transaction_body *body, void *context,
                      struct error *error)
{
    return run(session, body, context, true, error);
}

bool catalogue_transact(struct catalogue *catalogue, transaction_body *body, void *context,
                        struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    return session && run(session, body, context, true, error);
}

bool session_rehearse(struct catalogue_session *session, transaction_body *body, void *context,
                      struct error *error)
{
    return run(session, body, context, false, error);
}
