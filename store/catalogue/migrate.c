/* Migrations: each in one transaction, together with its row in schema_migrations.
 * Killed at any point, the next start goes on where this one was. */
#include "store/catalogue/session_internal.h"
#include "store/embedded.h"

#include <stdlib.h>

/* The lock is the transaction's, so it needs no release. While another node
 * migrates, we wait for it as long as for our own statements. */
enum { MIGRATION_TIMEOUT_MS = 10 * 60 * 1000 };

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

/* One transaction: applies the next migration, or finds that nothing is missing. */
static bool migrate_step(struct catalogue_session *session, bool *complete, struct error *error)
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
    return (*complete || apply(session, found + 1, &arena, error)) &&
           session_commit(session, error);
}

bool catalogue_migrate(struct catalogue *catalogue, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session)
        return false;
    bool complete = false;
    bool ok = true;
    while (ok && !complete)
        ok = migrate_step(session, &complete, error);
    return ok;
}
