#include "store/file_lock.h"

#include <stdlib.h>
#include <time.h>

/* How long one waits between two tries: a layer takes from 0.1 s to minutes. */
enum { RETRY_INTERVAL_MS = 50 };

struct file_lock {
    struct catalogue_session *session; /* owned while the lock is held */
    char class_text[16];
    char key_text[16];
};

/* pg_advisory_lock(int, int): the kind, and 32 bits of the key. Two files that
 * share them only wait for each other. The class is apart from other users' of
 * advisory locks in the same database: migrations use the one-argument form. */
static void format_keys(enum blob_kind kind, const struct digest *key, char class_text[16],
                        char key_text[16])
{
    enum { CLASS_BASE = 0x1a7de700 };
    if (kind == BLOB_VMDK)
        kind = BLOB_FSMETA; /* the two files of a manifest come and go under one lock */
    uint32_t low = 0;
    for (size_t i = 0; i < sizeof(low); i++)
        low = low << 8 | key->bytes[i];
    snprintf(class_text, 16, "%d", CLASS_BASE + (int)kind);
    snprintf(key_text, 16, "%d", (int32_t)low);
}

static bool try_lock(struct catalogue_session *session, const struct statement *statement,
                     const char *class_text, const char *key_text, bool *locked,
                     struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(session, statement, &arena, &rows, error, class_text, key_text))
        return false;
    *locked = rows_bool(&rows, 0, 0);
    return true;
}

static bool is_set(const atomic_bool *flag)
{
    return flag && atomic_load(flag);
}

static bool wait_for_lock(struct file_lock *lock, const atomic_bool *cancelled, struct error *error)
{
    static const struct statement try_session_lock = {
        "file_lock_try", "SELECT pg_try_advisory_lock($1::int, $2::int)"};
    for (;;) {
        bool locked = false;
        if (is_set(cancelled))
            return error_set(error, ERROR_PULL_CANCELLED, "the pull was cancelled");
        if (!try_lock(lock->session, &try_session_lock, lock->class_text, lock->key_text, &locked,
                      error))
            return false;
        if (locked)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = RETRY_INTERVAL_MS * 1000000L}, NULL);
    }
}

struct file_lock *file_lock_acquire(struct catalogue *catalogue, enum blob_kind kind,
                                    const struct digest *key, const atomic_bool *cancelled,
                                    struct error *error)
{
    struct file_lock *lock = calloc(1, sizeof(*lock));
    if (!lock)
        abort();
    format_keys(kind, key, lock->class_text, lock->key_text);
    lock->session = catalogue_acquire(catalogue, error);
    if (lock->session && wait_for_lock(lock, cancelled, error))
        return lock;
    catalogue_release(lock->session);
    free(lock);
    return NULL;
}

void file_lock_release(struct file_lock *lock)
{
    if (!lock)
        return;
    static const struct statement unlock = {"file_lock_release",
                                            "SELECT pg_advisory_unlock($1::int, $2::int)"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    /* When this fails, the connection is gone and the lock with it. */
    struct error ignored;
    (void)QUERY(lock->session, &unlock, &arena, &rows, &ignored, lock->class_text, lock->key_text);
    catalogue_release(lock->session);
    free(lock);
}

bool file_lock_try_in_transaction(struct catalogue_session *session, enum blob_kind kind,
                                  const struct digest *key, bool *locked, struct error *error)
{
    static const struct statement try_transaction_lock = {
        "file_lock_try_in_transaction", "SELECT pg_try_advisory_xact_lock($1::int, $2::int)"};
    char class_text[16];
    char key_text[16];
    format_keys(kind, key, class_text, key_text);
    return try_lock(session, &try_transaction_lock, class_text, key_text, locked, error);
}
