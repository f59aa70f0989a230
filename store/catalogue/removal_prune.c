/* Prune: the references that nobody needs, least recently used first. */
#include "store/catalogue/removal.h"

#include "store/catalogue/removal_internal.h"
#include "store/catalogue/transaction.h"

/* All statements together take 5 s for half of 100,000 images (bench/prune). */
enum { STATEMENT_TIMEOUT_MS = 60 * 1000 };

struct prune {
    const struct prune_options *options;
    struct removal *removal;
};

/* $1 the glob or NULL, $2 seconds. A pin without `*` is compared, so that only the globs
 * are tried on every reference. A pull that is queued will use what its reference names. */
#define GLOBS                                                                                      \
    "WITH globs AS MATERIALIZED ("                                                                 \
    "    SELECT glob_to_like(pattern) AS pattern FROM pins WHERE strpos(pattern, '*') > 0)"
#define IS_PRUNABLE                                                                                \
    "     ($1::text IS NULL OR r.reference LIKE glob_to_like($1))"                                 \
    " AND r.last_used_at <= now() - make_interval(secs => $2::bigint)"                             \
    " AND" IS_NOT_HELD(                                                                            \
        "r.manifest_digest") " AND NOT EXISTS (SELECT FROM pins p WHERE p.pattern = r.reference)"  \
                             " AND NOT EXISTS (SELECT FROM globs g WHERE r.reference LIKE "        \
                             "g.pattern)"                                                          \
                             " AND NOT EXISTS (SELECT FROM pulls p WHERE p.reference = "           \
                             "r.reference"                                                         \
                             "                    AND p.finished_at IS NULL)"

static bool query_with_options(struct catalogue_session *session, const struct statement *statement,
                               const struct prune *prune, struct rows *rows, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    const struct prune_options *options = prune->options;
    return QUERY(session, statement, &arena, rows, error, options->reference_glob,
                 parameter_int(&arena, options->unused_for_seconds));
}

/* Not locked yet: with keep_bytes most of them stay. */
static bool find_prunable(struct catalogue_session *session, const struct prune *prune,
                          struct error *error)
{
    static const struct statement find = {
        "prune_find",
        GLOBS " INSERT INTO removal_references"
              " SELECT r.reference, r.os, r.architecture, r.variant, r.manifest_digest,"
              "        r.last_used_at, r.description_allocated_bytes"
              "   FROM image_refs r WHERE" IS_PRUNABLE};
    struct rows rows;
    return query_with_options(session, &find, prune, &rows, error) &&
           removal_count_references(session, error);
}

/* Every file goes with the last reference that needs it: a manifest's rank is the greatest of
 * its references', a layer's the greatest of its manifests'; NULL stays, 0 goes in any case, for
 * nothing reaches it. */
#define REFERENCE_RANKS                                                                            \
    " ranked AS MATERIALIZED ("                                                                    \
    "    SELECT v.*, row_number() OVER (ORDER BY last_used_at, reference, os, architecture,"       \
    "               variant) AS rank"                                                              \
    "      FROM removal_references v),"                                                            \
    " refs AS MATERIALIZED ("                                                                      \
    "    SELECT r.reference, r.manifest_digest, r.description_allocated_bytes AS bytes, v.rank"    \
    "      FROM image_refs r LEFT JOIN ranked v ON" IS_VICTIM ")"
#define MANIFEST_RANKS                                                                             \
    " manifest_ranks AS MATERIALIZED ("                                                            \
    "    SELECT m.digest,"                                                                         \
    "           coalesce(m.allocated_bytes, m.fsmeta_size_bytes + m.vmdk_size_bytes) AS bytes,"    \
    "           CASE WHEN bool_or(r.rank IS NULL) THEN NULL ELSE max(r.rank) END AS rank"          \
    "      FROM manifests m JOIN refs r ON r.manifest_digest = m.digest"                           \
    "     GROUP BY m.digest"                                                                       \
    "    UNION ALL"                                                                                \
    "    SELECT m.digest,"                                                                         \
    "           coalesce(m.allocated_bytes, m.fsmeta_size_bytes + m.vmdk_size_bytes),"             \
    "           CASE WHEN" IS_NOT_HELD(                                                            \
        "m.digest") " THEN 0 END"                                                                  \
                    "      FROM manifests m"                                                       \
                    "     WHERE NOT EXISTS (SELECT FROM image_refs r WHERE r.manifest_digest = "   \
                    "m.digest))"
#define LAYER_RANKS                                                                                \
    " held_layers AS MATERIALIZED ("                                                               \
    "    SELECT DISTINCT l.held_diff_id FROM pull_layers l JOIN pulls p ON p.id = l.pull_id"       \
    "     WHERE l.held_diff_id IS NOT NULL AND p.finished_at IS NULL),"                            \
    " layer_ranks AS ("                                                                            \
    "    SELECT l.diff_id, coalesce(l.allocated_bytes, l.erofs_size_bytes) AS bytes,"              \
    "           CASE WHEN bool_or(m.digest IS NOT NULL AND m.rank IS NULL)"                        \
    "                  OR bool_or(h.held_diff_id IS NOT NULL) THEN NULL"                           \
    "                ELSE coalesce(max(m.rank), 0) END AS rank"                                    \
    "      FROM layers l LEFT JOIN manifest_layers ml ON ml.diff_id = l.diff_id"                   \
    "           LEFT JOIN manifest_ranks m ON m.digest = ml.manifest_digest"                       \
    "           LEFT JOIN held_layers h ON h.held_diff_id = l.diff_id"                             \
    "     GROUP BY l.diff_id)"

/* Spares those that need not go. What is freed before a reference's turn is the sum of all
 * files of lesser ranks. */
static bool keep_bytes(struct catalogue_session *session, const struct prune *prune,
                       struct error *error)
{
    static const struct statement spare = {
        "prune_keep",
        "WITH" REFERENCE_RANKS "," MANIFEST_RANKS "," LAYER_RANKS ","
        " files AS MATERIALIZED ("
        "    SELECT bytes, rank FROM manifest_ranks"
        "    UNION ALL SELECT bytes, rank FROM layer_ranks"
        "    UNION ALL SELECT coalesce(max(bytes), 0),"
        "           CASE WHEN bool_or(rank IS NULL) THEN NULL ELSE max(rank) END"
        "      FROM refs GROUP BY reference),"
        " stays AS ("
        "    SELECT coalesce(sum(bytes), 0) AS bytes FROM files WHERE rank IS NULL OR rank > 0),"
        " by_rank AS (SELECT rank, sum(bytes) AS bytes FROM files WHERE rank > 0 GROUP BY rank),"
        " freed AS ("
        "    SELECT k.rank, coalesce(sum(b.bytes) OVER (ORDER BY k.rank"
        "               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before"
        "      FROM ranked k LEFT JOIN by_rank b USING (rank))"
        " DELETE FROM removal_references v USING ranked r, freed f, stays"
        "  WHERE" IS_VICTIM " AND f.rank = r.rank AND stays.bytes - f.before <= $1::bigint"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    return !prune->options->has_keep_bytes ||
           (QUERY(session, &spare, &arena, &rows, error,
                  parameter_int(&arena, prune->options->keep_bytes)) &&
            removal_count_references(session, error));
}

/* Whoever begins to use one of them now waits, or has begun before: that is seen when they
 * are taken out. The order is that of a pull's end, which locks several as well. */
static bool lock_references(struct catalogue_session *session, struct error *error)
{
    static const struct statement lock = {
        "prune_lock_references",
        "SELECT count(*) FROM ("
        "    SELECT FROM image_refs r JOIN removal_references v ON" IS_VICTIM
        "     ORDER BY r.reference, r.os, r.architecture, r.variant FOR UPDATE OF r) l"};
    return removal_run(session, &lock, error);
}

/* Those of the victims, and those that nothing reached before. */
static bool lock_manifests(struct catalogue_session *session, struct error *error)
{
    static const struct statement lock = {"prune_lock_manifests",
                                          "INSERT INTO removal_manifests"
                                          " SELECT m.digest FROM manifests m"
                                          "  WHERE" LOSES_ALL_REFERENCES
                                          " AND" IS_NOT_HELD("m.digest") "    FOR UPDATE OF m"};
    return removal_run(session, &lock, error) && removal_count_manifests(session, error);
}

static bool take_references(struct catalogue_session *session, const struct prune *prune,
                            struct error *error)
{
    static const struct statement take = {"prune_take", GLOBS
                                          " DELETE FROM image_refs r USING removal_references v"
                                          " WHERE" IS_VICTIM " AND" IS_PRUNABLE};
    struct rows rows;
    if (!query_with_options(session, &take, prune, &rows, error))
        return false;
    prune->removal->references = (int64_t)rows.affected;
    return true;
}

static bool choose_id(struct catalogue_session *session, struct removal *removal,
                      struct error *error)
{
    static const struct statement choose = {"prune_id", "SELECT nextval('removals')"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!session_query(session, &choose, NULL, 0, &arena, &rows, error))
        return false;
    *removal = (struct removal){.id = rows_int(&rows, 0, 0)};
    return true;
}

/* Hashes and sorts of that size stay in memory. To see whether a row is held, PostgreSQL would go
 * through the holders for each row where it takes them for few: 2 us each where there are none. All
 * but globs can be hashed instead. */
static bool set_up(struct catalogue_session *session, struct error *error)
{
    static const struct statement planner = {"prune_planner",
                                             "SELECT set_config('work_mem', '64MB', true),"
                                             "       set_config('enable_nestloop', 'off', true)"};
    return removal_run(session, &planner, error) &&
           session_extend_timeout(session, STATEMENT_TIMEOUT_MS, error);
}

static bool prune_all(struct catalogue_session *session, void *context, struct error *error)
{
    const struct prune *prune = context;
    return removal_lock(session, error) && set_up(session, error) &&
           removal_pardon(session, error) && choose_id(session, prune->removal, error) &&
           find_prunable(session, prune, error) && keep_bytes(session, prune, error) &&
           lock_references(session, error) && lock_manifests(session, error) &&
           removal_expire_holders(session, error) && take_references(session, prune, error) &&
           removal_condemn_unreached(session, prune->removal, error);
}

bool catalogue_prune(struct catalogue *catalogue, const struct prune_options *options,
                     struct removal *removal, struct error *error)
{
    struct prune prune = {options, removal};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session || !removal_make_tables(session, error))
        return false;
    return options->dry_run ? session_rehearse(session, prune_all, &prune, error)
                            : session_transact(session, prune_all, &prune, error);
}
