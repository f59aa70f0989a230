/* Migrations: each in one transaction, together with its row in schema_migrations.
 * Killed at any point, the next start goes on where this one was. */
#include "store/catalogue/session_internal.h"
#include "store/embedded.h"

#include <string.h>
#include <time.h>

/* The lock is the transaction's, so it needs no release. While another node
 * migrates, we wait for it as long as for our own statements. */
enum {
    MIGRATION_TIMEOUT_MS = 10 * 60 * 1000,
    LET_THROUGH_MS = 1000, /* those who wait behind a migration that waits */
};

/* A table that is waited for is out of use for everybody who comes later. So the wait is short,
 * and is tried again from the savepoint, which keeps the lock on the migrations: other nodes that
 * start do not use the pause for a try of theirs. */
static const char begin_tries[] = "SET LOCAL lock_timeout = '2s'; SAVEPOINT migration";
static const char end_try[] = "ROLLBACK TO SAVEPOINT migration";

static const struct statement lock_migrations = {
    "migrate_lock",
    "SELECT pg_advisory_xact_lock(hashtextextended('larder.schema_migrations', 0))",
};
static const char create_table[] = "CREATE TABLE IF NOT EXISTS schema_migrations ("
                                   " version integer PRIMARY KEY,"
                                   " name text NOT NULL,"
                                   " applied_at timestamptz NOT NULL DEFAULT now())";
static const struct statement find_version = {
    "migrate_find_version",
    "SELECT coalesce(max(version), 0) FROM schema_migrations",
};
static const struct statement record_version = {
    "migrate_record_version",
    "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)",
};

/* Their names begin with their numbers, from 1, without gaps. */
int64_t catalogue_known_version(void)
{
    int64_t count = 0;
    while (embedded_migrations[count].name)
        count++;
    return count;
}

static bool lock_and_find(struct catalogue_session *session, struct arena *arena, int64_t *version,
                          struct error *error)
{
    struct rows rows;
    if (!session_extend_timeout(session, MIGRATION_TIMEOUT_MS, error) ||
        !session_query(session, &lock_migrations, NULL, 0, arena, &rows, error) ||
        !session_execute(session, create_table, MIGRATION_TIMEOUT_MS, error) ||
        !session_query(session, &find_version, NULL, 0, arena, &rows, error))
        return false;
    *version = rows_int(&rows, 0, 0);
    return true;
}

static bool apply(struct catalogue_session *session, int64_t version, struct arena *arena,
                  struct error *error)
{
    const struct embedded_file *migration = &embedded_migrations[version - 1];
    struct rows rows;
    if (!session_execute(session, migration->bytes, MIGRATION_TIMEOUT_MS, error))
        return error_context(error, "migration %s", migration->name);
    return QUERY(session, &record_version, arena, &rows, error, parameter_int(arena, version),
                 migration->name);
}

/* The oldest transaction is what others, and we, wait for. */
static bool tell_what_is_in_the_way(struct catalogue_session *session, int64_t version,
                                    struct arena *arena, struct error *error)
{
    static const struct statement find = {
        "migrate_find_holder",
        "SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename) FROM pg_stat_activity a"
        " WHERE a.pid <> pg_backend_pid() AND EXISTS ("
        "       SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'r'"
        "        WHERE l.pid = a.pid AND l.granted"
        "          AND l.database = (SELECT oid FROM pg_database"
        "                             WHERE datname = current_database()))"
        " ORDER BY a.xact_start LIMIT 1"};
    struct rows rows;
    const char *holder = "";
    if (!session_query(session, &find, NULL, 0, arena, &rows, error))
        return false;
    if (rows.count > 0)
        holder = arena_printf(arena, ", the oldest of them that of process %s (%s)",
                              rows_text(&rows, 0, 0), rows_text(&rows, 0, 1));
    return error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
                     "migration %s: other transactions kept it from its tables for %d minutes%s: "
                     "wait for their end, or end them with pg_terminate_backend(), and start again",
                     embedded_migrations[version - 1].name, MIGRATION_TIMEOUT_MS / 60000, holder);
}

/* It waited for a lock, alone or in a circle. */
static bool is_in_the_way(const struct error *error)
{
    return strcmp(error->sqlstate, "55P03") == 0 || /* lock_not_available */
           strcmp(error->sqlstate, "40P01") == 0;   /* deadlock_detected */
}

static bool apply_when_free(struct catalogue_session *session, int64_t version, int64_t deadline_ms,
                            struct arena *arena, struct error *error)
{
    if (!session_execute(session, begin_tries, MIGRATION_TIMEOUT_MS, error))
        return false;
    while (!apply(session, version, arena, error)) {
        if (!is_in_the_way(error) ||
            !session_execute(session, end_try, MIGRATION_TIMEOUT_MS, error))
            return false;
        if (monotonic_ms() + LET_THROUGH_MS >= deadline_ms)
            return tell_what_is_in_the_way(session, version, arena, error);
        nanosleep(&(struct timespec){.tv_sec = LET_THROUGH_MS / 1000}, NULL);
    }
    *error = (struct error){0};
    return true;
}

/* One transaction: applies the next migration, or finds that nothing is missing. */
static bool migrate_step(struct catalogue_session *session, int64_t deadline_ms, bool *complete,
                         struct error *error)
{
    cleanup_arena struct arena arena = {0};
    int64_t known = catalogue_known_version();
    int64_t found = 0;
    if (!session_begin(session, error) || !lock_and_find(session, &arena, &found, error))
        return false;
    if (found > known)
        return error_set(error, ERROR_INTERNAL,
                         "the catalogue has schema version %lld, this larder %s knows up to %lld: "
                         "start a newer larder",
                         (long long)found, LARDER_VERSION, (long long)known);
    *complete = found == known;
    return (*complete || apply_when_free(session, found + 1, deadline_ms, &arena, error)) &&
           session_commit(session, error);
}

bool catalogue_migrate(struct catalogue *catalogue, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session)
        return false;
    const int64_t deadline_ms = monotonic_ms() + MIGRATION_TIMEOUT_MS;
    bool complete = false;
    bool ok = true;
    while (ok && !complete)
        ok = migrate_step(session, deadline_ms, &complete, error);
    return ok;
}
