#include "store/file_lock.h"

#include "store/cancel.h"

#include <stdlib.h>
#include <time.h>

/* How long one waits between two tries: a layer takes from 0.1 s to minutes. */
enum { RETRY_INTERVAL_MS = 50 };

struct file_lock {
    struct catalogue_session *session; /* owned while the lock is held */
};

static const struct statement try_session_lock = {
    "file_lock_try", "SELECT pg_try_advisory_lock(file_lock_class($1), file_lock_key($2))"};
static const struct statement try_transaction_lock = {
    "file_lock_try_in_transaction",
    "SELECT pg_try_advisory_xact_lock(file_lock_class($1), file_lock_key($2))"};
/* Whether no reaper has the file: one locks the row, and looks for held locks after that. So this
 * is asked once the lock is held, in a statement of its own. fsmeta and vmdk share a lock. */
#define ITS_ROWS                                                                                   \
    " FROM condemned_files WHERE digest = $2"                                                      \
    "  AND kind IN ($1, CASE $1 WHEN 'fsmeta' THEN 'vmdk' WHEN 'vmdk' THEN 'fsmeta' ELSE $1 END)"
static const struct statement look_at_rows = {
    "file_lock_look_at_rows",
    "WITH free AS MATERIALIZED (SELECT" ITS_ROWS " FOR KEY SHARE SKIP LOCKED)"
    " SELECT (SELECT count(*)" ITS_ROWS ") = (SELECT count(*) FROM free)"};

static bool ask(struct catalogue_session *session, const struct statement *statement,
                const struct blob_id *file, bool *answer, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&file->key, digest);
    struct rows rows;
    if (!QUERY(session, statement, &arena, &rows, error, blob_kind_name(file->kind), digest))
        return false;
    *answer = rows_bool(&rows, 0, 0);
    return true;
}

/* Asks again and again until the answer is yes. */
static bool wait_until(struct catalogue_session *session, const struct statement *statement,
                       const struct blob_id *file, const atomic_bool *cancelled,
                       struct error *error)
{
    for (;;) {
        bool answer = false;
        if (!cancel_check(cancelled, error) || !ask(session, statement, file, &answer, error))
            return false;
        if (answer)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_INTERVAL_MS * 1000000L}, NULL);
    }
}

static bool wait_for_lock(struct file_lock *lock, const struct blob_id *file,
                          const atomic_bool *cancelled, struct error *error)
{
    return wait_until(lock->session, &try_session_lock, file, cancelled, error) &&
           wait_until(lock->session, &look_at_rows, file, cancelled, error);
}

struct file_lock *file_lock_acquire(struct catalogue *catalogue, const struct blob_id *files,
                                    size_t file_count, const atomic_bool *cancelled,
                                    struct error *error)
{
    struct file_lock *lock = calloc(1, sizeof(*lock));
    if (!lock)
        abort();
    lock->session = catalogue_acquire(catalogue, error);
    size_t locked = 0;
    while (lock->session && locked < file_count &&
           wait_for_lock(lock, &files[locked], cancelled, error))
        locked++;
    if (lock->session && locked == file_count)
        return lock;
    file_lock_release(lock);
    return NULL;
}

bool file_lock_try(struct catalogue *catalogue, const struct blob_id *file, struct file_lock **lock,
                   struct error *error)
{
    cleanup_file_lock struct file_lock *tried = calloc(1, sizeof(*tried));
    if (!tried)
        abort();
    bool locked = false;
    bool free_of_reapers = false;
    *lock = NULL;
    tried->session = catalogue_acquire(catalogue, error);
    if (!tried->session || !ask(tried->session, &try_session_lock, file, &locked, error) ||
        (locked && !ask(tried->session, &look_at_rows, file, &free_of_reapers, error)))
        return false;
    if (free_of_reapers)
        *lock = steal(&tried);
    return true;
}

void file_lock_release(struct file_lock *lock)
{
    if (!lock)
        return;
    /* Nothing but these locks is of the session: transactions have ended. */
    static const struct statement unlock = {"file_lock_release", "SELECT pg_advisory_unlock_all()"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    /* When this fails, the connection is gone and the lock with it. */
    struct error ignored;
    if (lock->session)
        (void)session_query(lock->session, &unlock, NULL, 0, &arena, &rows, &ignored);
    catalogue_release(lock->session);
    free(lock);
}

struct catalogue_session *file_lock_session(struct file_lock *lock)
{
    return lock->session;
}

bool file_lock_check(struct file_lock *lock, struct error *error)
{
    if (session_is_open(lock->session))
        return true;
    error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
              "the connection to PostgreSQL that kept the lock of a file was lost");
    error->retry_after_seconds = 1;
    return false;
}

bool file_lock_try_in_transaction(struct catalogue_session *session, const struct blob_id *file,
                                  bool *locked, struct error *error)
{
    return ask(session, &try_transaction_lock, file, locked, error);
}
