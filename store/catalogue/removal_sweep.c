#include "store/catalogue/removal_internal.h"

#include <stdlib.h>

void victims_from_rows(const struct rows *rows, struct arena *arena, struct victims *victims)
{
    enum { COLUMNS = 5 };
    const char *arrays[COLUMNS];
    for (size_t column = 0; column < COLUMNS; column++) {
        const char **texts = arena_alloc_array(arena, rows->count, sizeof(*texts));
        for (size_t row = 0; row < rows->count; row++)
            texts[row] = rows_text(rows, row, column);
        arrays[column] = parameter_text_array(arena, texts, rows->count);
    }
    *victims = (struct victims){rows->count, arrays[0], arrays[1], arrays[2], arrays[3], arrays[4]};
}

bool removal_begin(struct catalogue_session *session, struct arena *arena, struct error *error)
{
    static const struct statement lock = {
        "removal_lock", "SELECT pg_advisory_xact_lock(hashtext('larder removal'))"};
    /* Expired sandboxes hold nothing; one that is renewed right now is left alone. */
    static const struct statement expire = {
        "sandboxes_expire",
        "DELETE FROM sandboxes WHERE id IN ("
        "    SELECT id FROM sandboxes WHERE expires_at <= now() FOR UPDATE SKIP LOCKED)"};
    /* A node that slept through its own pull's end may have taken hold of a layer since. */
    static const struct statement let_go = {
        "ended_pulls_let_go",
        "UPDATE pull_layers l SET held_diff_id = NULL FROM pulls p"
        " WHERE l.held_diff_id IS NOT NULL AND p.id = l.pull_id AND p.finished_at IS NOT NULL"};
    struct rows rows;
    return session_query(session, &lock, NULL, 0, arena, &rows, error) &&
           session_query(session, &expire, NULL, 0, arena, &rows, error) &&
           session_query(session, &let_go, NULL, 0, arena, &rows, error);
}

bool removal_lock_manifests(struct catalogue_session *session, const struct victims *victims,
                            struct arena *arena, struct error *error)
{
    static const struct statement lock = {
        "manifests_lock",
        "SELECT m.digest FROM manifests m"
        "  JOIN (SELECT DISTINCT unnest($1::text[]) AS digest) v ON v.digest = m.digest"
        " ORDER BY m.digest FOR UPDATE OF m"};
    struct rows rows;
    return QUERY(session, &lock, arena, &rows, error, victims->manifests);
}

static bool remove_references(struct catalogue_session *session, const struct victims *victims,
                              struct arena *arena, struct removal *removal, struct error *error)
{
    static const struct statement remove = {
        "image_refs_remove", "DELETE FROM image_refs r"
                             " USING unnest($1::text[], $2::text[], $3::text[], $4::text[])"
                             "       AS v (reference, os, architecture, variant)"
                             " WHERE r.reference = v.reference AND r.os = v.os"
                             "   AND r.architecture = v.architecture AND r.variant = v.variant"};
    struct rows rows;
    if (!QUERY(session, &remove, arena, &rows, error, victims->references, victims->oses,
               victims->architectures, victims->variants))
        return false;
    removal->references = (int64_t)rows.affected;
    return true;
}

/* The victims' descriptions in manifests/ go when no platform is left of a reference. */
static bool condemn_descriptions(struct catalogue_session *session, const struct victims *victims,
                                 struct arena *arena, struct rows *condemned, struct error *error)
{
    static const struct statement condemn = {
        "descriptions_condemn",
        "INSERT INTO condemned_files (kind, digest)"
        " SELECT 'manifest', 'sha256:' || encode(sha256(convert_to(v.reference, 'UTF8')), 'hex')"
        "   FROM (SELECT DISTINCT unnest($1::text[]) AS reference) v"
        "  WHERE NOT EXISTS (SELECT FROM image_refs r WHERE r.reference = v.reference)"
        " ON CONFLICT (kind, digest) DO UPDATE SET condemned_at = now()"
        " RETURNING kind, digest, 0"};
    return QUERY(session, &condemn, arena, condemned, error, victims->references);
}

/* First locked, then looked at again by a statement of its own: what began to hold a
 * manifest before it was locked is seen by then. */
static bool condemn_manifests(struct catalogue_session *session, struct arena *arena,
                              struct removal *removal, struct rows *condemned, struct error *error)
{
    static const struct statement lock = {
        "manifests_lock_unreached",
        "SELECT digest FROM manifests m"
        " WHERE NOT EXISTS (SELECT FROM image_refs r WHERE r.manifest_digest = m.digest)"
        "   AND NOT EXISTS (SELECT FROM sandboxes s WHERE s.held_digest = m.digest)"
        "   AND NOT EXISTS (SELECT FROM snapshots s WHERE s.held_digest = m.digest)"
        " ORDER BY digest FOR UPDATE"};
    static const struct statement condemn = {
        "manifests_condemn",
        "WITH gone AS ("
        "    DELETE FROM manifests m"
        "     USING unnest($1::text[]) AS v (digest)"
        "     WHERE m.digest = v.digest"
        "       AND NOT EXISTS (SELECT FROM image_refs r WHERE r.manifest_digest = m.digest)"
        "       AND NOT EXISTS (SELECT FROM sandboxes s WHERE s.held_digest = m.digest)"
        "       AND NOT EXISTS (SELECT FROM snapshots s WHERE s.held_digest = m.digest)"
        "    RETURNING m.digest, m.fsmeta_size_bytes, m.vmdk_size_bytes)"
        " INSERT INTO condemned_files (kind, digest, size_bytes)"
        " SELECT 'fsmeta', digest, fsmeta_size_bytes FROM gone"
        " UNION ALL"
        " SELECT 'vmdk', digest, vmdk_size_bytes FROM gone"
        " ON CONFLICT (kind, digest) DO UPDATE SET condemned_at = now()"
        " RETURNING kind, digest, size_bytes"};
    struct rows unreached;
    if (!session_query(session, &lock, NULL, 0, arena, &unreached, error))
        return false;
    const char *digests =
        parameter_text_array(arena, unreached.values, unreached.count * unreached.column_count);
    if (!QUERY(session, &condemn, arena, condemned, error, digests))
        return false;
    removal->manifests = (int64_t)condemned->count / 2; /* fsmeta and vmdk of each */
    return true;
}

static bool remove_configs(struct catalogue_session *session, struct arena *arena,
                           struct error *error)
{
    static const struct statement lock = {
        "configs_lock_unreached",
        "SELECT digest FROM configs c"
        " WHERE NOT EXISTS (SELECT FROM manifests m WHERE m.config_digest = c.digest)"
        " ORDER BY digest FOR UPDATE"};
    static const struct statement remove = {
        "configs_remove",
        "DELETE FROM configs c USING unnest($1::text[]) AS v (digest)"
        " WHERE c.digest = v.digest"
        "   AND NOT EXISTS (SELECT FROM manifests m WHERE m.config_digest = c.digest)"};
    struct rows unreached;
    struct rows rows;
    return session_query(session, &lock, NULL, 0, arena, &unreached, error) &&
           QUERY(session, &remove, arena, &rows, error,
                 parameter_text_array(arena, unreached.values,
                                      unreached.count * unreached.column_count));
}

static bool condemn_locked_layers(struct catalogue_session *session, const struct rows *locked,
                                  struct arena *arena, struct rows *condemned, struct error *error)
{
    static const struct statement condemn = {
        "layers_condemn",
        "WITH gone AS ("
        "    DELETE FROM layers l USING unnest($1::text[]) AS v (diff_id)"
        "     WHERE l.diff_id = v.diff_id"
        "       AND NOT EXISTS (SELECT FROM manifest_layers m WHERE m.diff_id = l.diff_id)"
        "       AND NOT EXISTS (SELECT FROM pull_layers p WHERE p.held_diff_id = l.diff_id)"
        "    RETURNING l.*)"
        " INSERT INTO condemned_files (kind, digest, size_bytes, erofs_digest, tar_size_bytes)"
        " SELECT 'layer', diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes FROM gone"
        " ON CONFLICT (kind, digest) DO UPDATE SET condemned_at = now()"
        " RETURNING kind, digest, size_bytes"};
    return QUERY(session, &condemn, arena, condemned, error,
                 parameter_text_array(arena, locked->values, locked->count * locked->column_count));
}

static bool condemn_layers(struct catalogue_session *session, struct arena *arena,
                           struct removal *removal, struct rows *condemned, struct error *error)
{
    static const struct statement lock = {
        "layers_lock_unreached",
        "SELECT diff_id FROM layers l"
        " WHERE NOT EXISTS (SELECT FROM manifest_layers m WHERE m.diff_id = l.diff_id)"
        "   AND NOT EXISTS (SELECT FROM pull_layers p WHERE p.held_diff_id = l.diff_id)"
        " ORDER BY diff_id FOR UPDATE"};
    struct rows unreached;
    if (!session_query(session, &lock, NULL, 0, arena, &unreached, error) ||
        !condemn_locked_layers(session, &unreached, arena, condemned, error))
        return false;
    removal->layers = (int64_t)condemned->count;
    return true;
}

/* Rows of (kind, digest, size_bytes), appended to the removal. */
static void collect_condemned(const struct rows *rows, struct removal *removal)
{
    for (size_t row = 0; row < rows->count; row++) {
        struct blob_id *file = &removal->condemned[removal->condemned_count++];
        if (!blob_kind_parse(rows_text(rows, row, 0), &file->kind) ||
            !digest_parse(rows_text(rows, row, 1), &file->key))
            abort(); /* the table's checks admit nothing else */
        removal->size_bytes += rows_int(rows, row, 2);
    }
}

bool removal_sweep(struct catalogue_session *session, const struct victims *victims,
                   struct arena *arena, struct removal *removal, struct error *error)
{
    struct rows descriptions;
    struct rows manifests;
    struct rows layers;
    *removal = (struct removal){0};
    if (!remove_references(session, victims, arena, removal, error) ||
        !condemn_descriptions(session, victims, arena, &descriptions, error) ||
        !condemn_manifests(session, arena, removal, &manifests, error) ||
        !remove_configs(session, arena, error) ||
        !condemn_layers(session, arena, removal, &layers, error))
        return false;

    removal->condemned = arena_alloc_array(
        arena, descriptions.count + manifests.count + layers.count, sizeof(*removal->condemned));
    collect_condemned(&descriptions, removal);
    collect_condemned(&manifests, removal);
    collect_condemned(&layers, removal);
    return true;
}

bool removal_drop_pull_layers(struct catalogue_session *session, const char *pull_id,
                              const char *node_id, struct arena *arena, struct removal *removal,
                              struct error *error)
{
    static const struct statement let_go = {
        "pull_layers_drop",
        "WITH let_go AS ("
        "    UPDATE pull_layers SET held_diff_id = NULL"
        "     WHERE pull_id = (SELECT id FROM pulls WHERE id = $1::uuid"
        "                         AND (node_id = $2::uuid OR finished_at IS NOT NULL) FOR UPDATE)"
        "    RETURNING diff_id, state)"
        " SELECT DISTINCT diff_id FROM let_go WHERE state = 'done'"};
    static const struct statement lock = {
        "layers_lock_dropped",
        "SELECT l.diff_id FROM layers l JOIN unnest($1::text[]) AS v (diff_id)"
        "    ON v.diff_id = l.diff_id"
        " ORDER BY l.diff_id FOR UPDATE OF l"};
    struct rows dropped;
    struct rows locked;
    struct rows condemned;
    if (!QUERY(session, &let_go, arena, &dropped, error, pull_id, node_id) ||
        !QUERY(session, &lock, arena, &locked, error,
               parameter_text_array(arena, dropped.values, dropped.count)) ||
        !condemn_locked_layers(session, &locked, arena, &condemned, error))
        return false;
    *removal = (struct removal){.layers = (int64_t)condemned.count};
    removal->condemned = arena_alloc_array(arena, condemned.count, sizeof(*removal->condemned));
    collect_condemned(&condemned, removal);
    return true;
}
