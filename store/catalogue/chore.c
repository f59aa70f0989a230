#include "store/catalogue/chore.h"

#include <stdlib.h>
#include <string.h>

struct chore {
    struct catalogue_session *session; /* owned; holds the lock */
    char name[64];
};

static bool try_lock(struct chore *chore, bool *locked, struct error *error)
{
    static const struct statement try_chore_lock = {
        "chore_lock", "SELECT pg_try_advisory_lock(hashtextextended('larder.chore.' || $1, 0))"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(chore->session, &try_chore_lock, &arena, &rows, error, chore->name))
        return false;
    *locked = rows_bool(&rows, 0, 0);
    return true;
}

static void unlock(struct chore *chore)
{
    static const struct statement unlock_chore = {
        "chore_unlock", "SELECT pg_advisory_unlock(hashtextextended('larder.chore.' || $1, 0))"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    /* When this fails, the connection is gone and the lock with it. */
    struct error ignored;
    (void)QUERY(chore->session, &unlock_chore, &arena, &rows, &ignored, chore->name);
}

static bool is_due(struct chore *chore, int64_t every_seconds, bool *due, struct error *error)
{
    static const struct statement begin = {
        "chore_begin", "INSERT INTO chores AS c (name, begun_at) VALUES ($1, now())"
                       " ON CONFLICT (name) DO UPDATE SET begun_at = excluded.begun_at"
                       "  WHERE c.begun_at <= now() - make_interval(secs => $2::bigint)"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(chore->session, &begin, &arena, &rows, error, chore->name,
               parameter_int(&arena, every_seconds)))
        return false;
    *due = rows.affected > 0;
    return true;
}

bool chore_begin(struct catalogue *catalogue, const char *name, int64_t every_seconds,
                 struct chore **chore, struct error *error)
{
    *chore = NULL;
    struct chore *begun = calloc(1, sizeof(*begun));
    if (!begun)
        abort();
    snprintf(begun->name, sizeof(begun->name), "%s", name);
    begun->session = catalogue_acquire(catalogue, error);
    bool locked = false;
    bool due = false;
    bool asked = begun->session && try_lock(begun, &locked, error) &&
                 (!locked || is_due(begun, every_seconds, &due, error));
    if (asked && due) {
        *chore = begun;
        return true;
    }
    if (locked)
        unlock(begun);
    catalogue_release(begun->session);
    free(begun);
    return asked;
}

void chore_end(struct chore *chore)
{
    if (!chore)
        return;
    unlock(chore);
    catalogue_release(chore->session);
    free(chore);
}
