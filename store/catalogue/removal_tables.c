/* The tables and the lock that a removal works with. */
#include "store/catalogue/removal_internal.h"

#include <string.h>

bool removal_run(struct catalogue_session *session, const struct statement *statement,
                 struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    return session_query(session, statement, NULL, 0, &arena, &rows, error);
}

bool removal_make_tables(struct catalogue_session *session, struct error *error)
{
    static const struct statement tables[] = {
        {"removal_references_make",
         "CREATE TEMPORARY TABLE IF NOT EXISTS removal_references ("
         "    reference text, os text, architecture text, variant text,"
         "    manifest_digest sha256_digest, last_used_at timestamptz, allocated_bytes bigint)"
         " ON COMMIT DELETE ROWS"},
        {"removal_manifests_make",
         "CREATE TEMPORARY TABLE IF NOT EXISTS removal_manifests (digest sha256_digest)"
         " ON COMMIT DELETE ROWS"},
        {"removal_layers_make",
         "CREATE TEMPORARY TABLE IF NOT EXISTS removal_layers (diff_id sha256_digest)"
         " ON COMMIT DELETE ROWS"},
    };
    return removal_run(session, &tables[0], error) && removal_run(session, &tables[1], error) &&
           removal_run(session, &tables[2], error);
}

static bool wait_for_removals(struct catalogue_session *session, const struct statement *lock,
                              struct error *error)
{
    if (removal_run(session, lock, error))
        return true;
    if (strcmp(error->sqlstate, "57014") == 0 || /* query_canceled: it took too long */
        strcmp(error->sqlstate, "55P03") == 0) { /* lock_not_available: likewise */
        error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
                  "a removal is running; try again when it is done");
        error->retry_after_seconds = 1;
    }
    return false;
}

bool removal_lock(struct catalogue_session *session, struct error *error)
{
    static const struct statement lock = {
        "removal_lock", "SELECT pg_advisory_xact_lock(hashtext('larder removal'))"};
    return wait_for_removals(session, &lock, error);
}

bool removal_lock_out(struct catalogue_session *session, struct error *error)
{
    static const struct statement lock = {
        "removal_lock_out", "SELECT pg_advisory_xact_lock_shared(hashtext('larder removal'))"
                            "  FROM set_config('lock_timeout', '1s', true)"};
    return wait_for_removals(session, &lock, error);
}

bool removal_pardon(struct catalogue_session *session, struct error *error)
{
    static const struct statement layers = {"removal_pardon_layers",
                                            "DELETE FROM condemned_files c USING layers l"
                                            " WHERE c.kind = 'layer' AND l.diff_id = c.digest"};
    static const struct statement manifests = {
        "removal_pardon_manifests", "DELETE FROM condemned_files c USING manifests m"
                                    " WHERE c.kind IN ('fsmeta', 'vmdk') AND m.digest = c.digest"};
    return removal_run(session, &layers, error) && removal_run(session, &manifests, error);
}

/* By the index, whatever the planner thinks of tables that nobody counted: a prune may have
 * condemned 100,000 files. */
bool removal_pardon_victims(struct catalogue_session *session, struct error *error)
{
    static const struct statement layers = {
        "removal_pardon_victims_layers",
        "DELETE FROM condemned_files c"
        " WHERE c.kind = 'layer' AND c.digest = ANY (ARRAY(SELECT diff_id FROM removal_layers))"
        "   AND EXISTS (SELECT FROM layers l WHERE l.diff_id = c.digest)"};
    static const struct statement manifests = {
        "removal_pardon_victims_manifests",
        "DELETE FROM condemned_files c"
        " WHERE c.kind IN ('fsmeta', 'vmdk')"
        "   AND c.digest = ANY (ARRAY(SELECT digest FROM removal_manifests))"
        "   AND EXISTS (SELECT FROM manifests m WHERE m.digest = c.digest)"};
    return removal_run(session, &layers, error) && removal_run(session, &manifests, error);
}

bool removal_count_references(struct catalogue_session *session, struct error *error)
{
    static const struct statement analyze = {"removal_references_analyze",
                                             "ANALYZE removal_references"};
    return removal_run(session, &analyze, error);
}

bool removal_count_manifests(struct catalogue_session *session, struct error *error)
{
    static const struct statement analyze = {"removal_manifests_analyze",
                                             "ANALYZE removal_manifests"};
    return removal_run(session, &analyze, error);
}

/* One that is renewed right now waits for the manifest, and holds none of our rows. */
bool removal_expire_holders(struct catalogue_session *session, struct error *error)
{
    static const struct statement expire = {
        "removal_expire", "DELETE FROM sandboxes s USING removal_manifests v"
                          " WHERE s.held_digest = v.digest AND s.expires_at <= now()"};
    return removal_run(session, &expire, error);
}
