#include "store/catalogue/transaction.h"

#include "store/crash_point.h"

#include <string.h>

enum { MAX_TRIES = 5 };

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
        CRASH_POINT(TRANSACTION_WRITTEN);
        if (!session_commit(session, error))
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
           strcmp(error->sqlstate, "23503") == 0;   /* foreign_key_violation */
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
