/* Rows that nothing reaches any more go, and the names of their files are written into
 * condemned_files: one statement for each kind, which gives back either figures or names.
 *
 * What goes was locked before, in a statement of its own. A row that somebody points at all the
 * same fails the statement (foreign_key_violation), and the transaction is tried again. */
#include "store/catalogue/removal_internal.h"
#include "store/catalogue/transaction.h"

#include <stdlib.h>

/* What is catalogued is not condemned (removal_pardon()), but for descriptions, so there is no
 * conflict but theirs. To look for one takes as long as to insert. In the order of the index it
 * takes half. */
#define CONDEMNED " RETURNING kind, digest)"

/* $1 the removal's id, or NULL. The description goes when no platform is left of its reference;
 * else the reaper sees whether it is of one that went (described.h). One that is condemned already
 * may be with a reaper that has not seen these rows go: it is waited for. */
#define DESCRIPTIONS                                                                               \
    "WITH gone AS ("                                                                               \
    "    SELECT description_digest(v.reference) AS digest,"                                        \
    "           v.reference,"                                                                      \
    "           CASE WHEN EXISTS (SELECT FROM image_refs r WHERE r.reference = v.reference)"       \
    "                THEN 0 ELSE max(v.allocated_bytes) END AS bytes"                              \
    "      FROM removal_references v"                                                              \
    "     GROUP BY v.reference),"                                                                  \
    " condemned AS ("                                                                              \
    "    INSERT INTO condemned_files AS c (kind, digest, reference, removal_id)"                   \
    "    SELECT 'manifest', g.digest, g.reference, $1::bigint FROM gone g"                         \
    "     ORDER BY g.digest"                                                                       \
    "    ON CONFLICT (kind, digest) DO UPDATE"                                                     \
    "       SET removal_id = coalesce(excluded.removal_id, c.removal_id),"                         \
    "           reference = excluded.reference" CONDEMNED

#define MANIFESTS                                                                                  \
    "WITH gone AS ("                                                                               \
    "    DELETE FROM manifests m USING removal_manifests v"                                        \
    "     WHERE m.digest = v.digest"                                                               \
    "       AND NOT EXISTS (SELECT FROM image_refs r WHERE r.manifest_digest = m.digest)"          \
    "       AND NOT EXISTS (SELECT FROM sandboxes s WHERE s.held_digest = m.digest)"               \
    "       AND NOT EXISTS (SELECT FROM snapshots s WHERE s.held_digest = m.digest)"               \
    "    RETURNING m.digest, m.fsmeta_size_bytes, m.vmdk_size_bytes,"                              \
    "        coalesce(m.allocated_bytes, m.fsmeta_size_bytes + m.vmdk_size_bytes) AS bytes),"      \
    " condemned AS ("                                                                              \
    "    INSERT INTO condemned_files (kind, digest, size_bytes, removal_id)"                       \
    "    SELECT k.kind, g.digest,"                                                                 \
    "           CASE k.kind WHEN 'vmdk' THEN g.vmdk_size_bytes ELSE g.fsmeta_size_bytes END,"      \
    "           $1::bigint"                                                                        \
    "      FROM gone g CROSS JOIN unnest(ARRAY['fsmeta', 'vmdk']) AS k (kind)"                     \
    "     ORDER BY k.kind, g.digest" CONDEMNED

#define NOTHING_REACHES_L                                                                          \
    " AND NOT EXISTS (SELECT FROM manifest_layers m WHERE m.diff_id = l.diff_id)"                  \
    " AND NOT EXISTS (SELECT FROM pull_layers p WHERE p.held_diff_id = l.diff_id)"

#define LAYERS_FROM(victims)                                                                       \
    "WITH gone AS ("                                                                               \
    "    DELETE FROM layers l" victims NOTHING_REACHES_L                                           \
    "    RETURNING l.*, coalesce(l.allocated_bytes, l.erofs_size_bytes) AS bytes),"                \
    " condemned AS ("                                                                              \
    "    INSERT INTO condemned_files"                                                              \
    "        (kind, digest, size_bytes, erofs_digest, tar_size_bytes, removal_id)"                 \
    "    SELECT 'layer', g.diff_id, g.erofs_size_bytes, g.erofs_digest, g.tar_size_bytes,"         \
    "           $1::bigint"                                                                        \
    "      FROM gone g ORDER BY g.diff_id" CONDEMNED

/* Whoever begins to hold one of them now waits, or has begun before: that is seen when they are
 * taken out. Else each hold of a pull would fail the whole removal. */
#define LOCK_LAYERS_FROM(victims)                                                                  \
    "SELECT count(*) FROM ("                                                                       \
    "    SELECT FROM layers l" victims NOTHING_REACHES_L "       FOR UPDATE OF l) locked"

#define FIGURES " SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM gone"
#define NAMES   " SELECT kind, digest FROM condemned"

/* A node that slept through its own pull's end may have taken hold of a layer since. A statement of
 * its own for each: its plan is kept, and a prune's is not for the removal of one image. */
#define LET_GO                                                                                     \
    "UPDATE pull_layers l SET held_diff_id = NULL FROM pulls p"                                    \
    " WHERE l.held_diff_id IS NOT NULL AND p.id = l.pull_id AND p.finished_at IS NOT NULL"

/* --- of the whole catalogue --- */

static bool condemn_counting(struct catalogue_session *session, const struct statement *statement,
                             struct removal *removal, int64_t *count, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(session, statement, &arena, &rows, error, parameter_int(&arena, removal->id)))
        return false;
    *count = rows_int(&rows, 0, 0);
    removal->allocated_bytes += rows_int(&rows, 0, 1);
    return true;
}

bool removal_condemn_unreached(struct catalogue_session *session, struct removal *removal,
                               struct error *error)
{
    static const struct statement descriptions = {"descriptions_condemn", DESCRIPTIONS FIGURES};
    static const struct statement manifests = {"manifests_condemn", MANIFESTS FIGURES};
    static const struct statement let_go = {"ended_pulls_let_go", LET_GO};
    static const struct statement lock_layers = {"layers_lock", LOCK_LAYERS_FROM(" WHERE true")};
    static const struct statement layers = {"layers_condemn", LAYERS_FROM(" WHERE true") FIGURES};
    int64_t ignored = 0;
    return condemn_counting(session, &descriptions, removal, &ignored, error) &&
           condemn_counting(session, &manifests, removal, &removal->manifests, error) &&
           removal_run(session, &let_go, error) && removal_run(session, &lock_layers, error) &&
           condemn_counting(session, &layers, removal, &removal->layers, error);
}

/* --- of the victims --- */

static bool condemn_naming(struct catalogue_session *session, const struct statement *statement,
                           struct arena *arena, struct rows *names, struct error *error)
{
    return QUERY(session, statement, arena, names, error, NULL);
}

static void collect(const struct rows *names, struct condemned *condemned)
{
    for (size_t row = 0; row < names->count; row++) {
        struct blob_id *file = &condemned->files[condemned->count++];
        if (!blob_kind_parse(rows_text(names, row, 0), &file->kind) ||
            !digest_parse(rows_text(names, row, 1), &file->key))
            abort(); /* the table's checks admit nothing else */
    }
}

static void collect_all(const struct rows *names, size_t count, struct arena *arena,
                        struct condemned *condemned)
{
    size_t files = 0;
    for (size_t i = 0; i < count; i++)
        files += names[i].count;
    condemned->count = 0;
    condemned->files = arena_alloc_array(arena, files, sizeof(*condemned->files));
    for (size_t i = 0; i < count; i++)
        collect(&names[i], condemned);
}

/* The layers of removal_layers that nothing reaches any more. */
static bool condemn_listed_layers(struct catalogue_session *session, struct arena *arena,
                                  struct rows *names, struct error *error)
{
    static const struct statement lock = {
        "image_layers_lock", LOCK_LAYERS_FROM(", removal_layers v WHERE l.diff_id = v.diff_id")};
    static const struct statement condemn = {
        "image_layers_condemn",
        LAYERS_FROM(" USING removal_layers v WHERE l.diff_id = v.diff_id") NAMES};
    return removal_run(session, &lock, error) &&
           condemn_naming(session, &condemn, arena, names, error);
}

bool removal_condemn_victims(struct catalogue_session *session, struct arena *arena,
                             struct condemned *condemned, struct error *error)
{
    static const struct statement list_layers = {
        "removal_layers_fill", "INSERT INTO removal_layers"
                               " SELECT DISTINCT l.diff_id FROM manifest_layers l"
                               "   JOIN removal_manifests v ON v.digest = l.manifest_digest"};
    static const struct statement descriptions = {"image_descriptions_condemn", DESCRIPTIONS NAMES};
    static const struct statement manifests = {"image_manifests_condemn", MANIFESTS NAMES};
    static const struct statement let_go = {"image_ended_pulls_let_go", LET_GO};
    struct rows names[3];
    if (!removal_run(session, &list_layers, error) || !removal_pardon_victims(session, error) ||
        !condemn_naming(session, &descriptions, arena, &names[0], error) ||
        !condemn_naming(session, &manifests, arena, &names[1], error) ||
        !removal_run(session, &let_go, error) ||
        !condemn_listed_layers(session, arena, &names[2], error))
        return false;
    collect_all(names, 3, arena, condemned);
    return true;
}

/* --- of a pull that came to nothing --- */

struct drop {
    const char *pull_id;
    const char *node_id;
    struct arena *arena;
    struct condemned *condemned;
};

static bool drop_pull_layers(struct catalogue_session *session, void *context, struct error *error)
{
    /* Of two at once each would see the other's hold, and leave the layer to it. */
    static const struct statement alone = {
        "pull_drop_lock", "SELECT pg_advisory_xact_lock(hashtext('larder pull drop'))"};
    static const struct statement drop_holds = {
        "pull_layers_drop",
        "WITH held AS ("
        "    SELECT l.pull_id, l.position, l.diff_id"
        "      FROM pulls p JOIN pull_layers l ON l.pull_id = p.id"
        "     WHERE p.id = $1::uuid AND (p.node_id = $2::uuid OR p.finished_at IS NOT NULL)"
        "       AND l.held_diff_id IS NOT NULL FOR UPDATE),"
        " let_go AS ("
        "    UPDATE pull_layers l SET held_diff_id = NULL FROM held h"
        "     WHERE l.pull_id = h.pull_id AND l.position = h.position)"
        " INSERT INTO removal_layers SELECT DISTINCT diff_id FROM held"};
    /* Condemned before they were published. */
    static const struct statement list_unborn = {
        "pull_files_unborn", "SELECT f.kind, f.digest FROM pulls p CROSS JOIN LATERAL (VALUES"
                             "    ('fsmeta', p.manifest_digest::text), ('vmdk', p.manifest_digest),"
                             "    ('manifest', description_digest(p.reference)))"
                             "    AS f (kind, digest)"
                             " WHERE p.id = $1::uuid AND f.digest IS NOT NULL"};
    const struct drop *drop = context;
    struct rows rows;
    struct rows names[2];
    if (!removal_run(session, &alone, error) ||
        !QUERY(session, &drop_holds, drop->arena, &rows, error, drop->pull_id, drop->node_id) ||
        !condemn_listed_layers(session, drop->arena, &names[0], error) ||
        !QUERY(session, &list_unborn, drop->arena, &names[1], error, drop->pull_id))
        return false;
    collect_all(names, 2, drop->arena, drop->condemned);
    return true;
}

bool catalogue_drop_pull_layers(struct catalogue *catalogue, const char *pull_id,
                                const char *node_id, struct arena *arena,
                                struct condemned *condemned, struct error *error)
{
    struct drop drop = {pull_id, node_id, arena, condemned};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    return session && removal_make_tables(session, error) &&
           session_transact(session, drop_pull_layers, &drop, error);
}
