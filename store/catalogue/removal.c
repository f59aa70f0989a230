#include "store/catalogue/removal.h"

#include "store/catalogue/removal_internal.h"
#include "store/catalogue/transaction.h"

/* --- one image --- */

struct image_removal {
    const struct reference *reference;
    const struct platform *platform; /* NULL: all */
    bool force;
    struct arena *arena; /* for what is handed out */
    struct removal *removal;
    struct id_list *users;
};

static bool find_victims(struct catalogue_session *session, const struct image_removal *request,
                         struct victims *victims, struct error *error)
{
    static const struct statement find = {
        "image_victims",
        "SELECT reference, os, architecture, variant, manifest_digest FROM image_refs"
        " WHERE (reference = $1"
        "        OR (name = $2 AND manifest_digest = $3)"
        "        OR (name = $2 AND index_digest = $3))"
        "   AND ($4::text IS NULL OR (os = $4 AND architecture = $5 AND variant = $6))"
        " ORDER BY reference, os, architecture, variant"
        " FOR UPDATE"};
    const struct reference *reference = request->reference;
    const struct platform *platform = request->platform;
    char text[REFERENCE_TEXT_SIZE];
    char name[REFERENCE_TEXT_SIZE];
    reference_format(reference, text);
    reference_format_name(reference, name);

    struct rows rows;
    if (!QUERY(session, &find, request->arena, &rows, error, text, name,
               reference->digest[0] ? reference->digest : NULL, platform ? platform->os : NULL,
               platform ? platform->architecture : NULL, platform ? platform->variant : NULL))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_IMAGE_NOT_FOUND, "the image \"%s\" is not in the cache%s",
                         text, platform ? " for that platform" : "");
    victims_from_rows(&rows, request->arena, victims);
    return true;
}

/* Live sandboxes and snapshots that would lose their image, or name this reference. */
static bool find_users(struct catalogue_session *session, const struct victims *victims,
                       struct arena *arena, struct id_list *users, struct error *error)
{
    static const struct statement find = {
        "image_users",
        "WITH v AS ("
        "    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])"
        "        AS v (reference, os, architecture, variant, manifest_digest)),"
        " lost AS ("
        "    SELECT DISTINCT v.manifest_digest FROM v"
        "     WHERE NOT EXISTS ("
        "        SELECT FROM image_refs r"
        "         WHERE r.manifest_digest = v.manifest_digest"
        "           AND NOT EXISTS ("
        "              SELECT FROM v w WHERE w.reference = r.reference AND w.os = r.os"
        "                 AND w.architecture = r.architecture AND w.variant = r.variant)))"
        " SELECT id FROM ("
        "    SELECT s.id FROM sandboxes s JOIN lost ON s.held_digest = lost.manifest_digest"
        "    UNION"
        "    SELECT s.id FROM sandboxes s JOIN v"
        "        ON s.held_digest = v.manifest_digest AND s.reference = v.reference"
        "    UNION"
        "    SELECT 'snapshot ' || s.id FROM snapshots s JOIN lost"
        "        ON s.held_digest = lost.manifest_digest) u"
        " ORDER BY id"};
    struct rows rows;
    if (!QUERY(session, &find, arena, &rows, error, victims->references, victims->oses,
               victims->architectures, victims->variants, victims->manifests))
        return false;
    users->count = rows.count;
    users->ids = arena_alloc_array(arena, rows.count, sizeof(*users->ids));
    for (size_t row = 0; row < rows.count; row++)
        users->ids[row] = rows_text(&rows, row, 0);
    return true;
}

static bool find_pin(struct catalogue_session *session, const struct victims *victims,
                     struct arena *arena, const char **pattern, struct error *error)
{
    static const struct statement find = {
        "image_pin", "SELECT p.pattern FROM pins p JOIN unnest($1::text[]) AS v (reference)"
                     "    ON v.reference LIKE glob_to_like(p.pattern)"
                     " ORDER BY p.pattern LIMIT 1"};
    struct rows rows;
    if (!QUERY(session, &find, arena, &rows, error, victims->references))
        return false;
    *pattern = rows.count > 0 ? rows_text(&rows, 0, 0) : NULL;
    return true;
}

static bool refuse_if_used(struct catalogue_session *session, const struct image_removal *request,
                           const struct victims *victims, struct error *error)
{
    const char *pin = NULL;
    char text[REFERENCE_TEXT_SIZE];
    reference_format(request->reference, text);
    if (!find_users(session, victims, request->arena, request->users, error) ||
        !find_pin(session, victims, request->arena, &pin, error))
        return false;
    if (request->users->count > 0)
        return error_set(error, ERROR_IMAGE_IN_USE,
                         "the image \"%s\" is in use by %zu sandbox%s or snapshot%s, \"%s\" first; "
                         "release them, or remove it with force=true",
                         text, request->users->count, request->users->count == 1 ? "" : "es",
                         request->users->count == 1 ? "" : "s", request->users->ids[0]);
    if (pin)
        return error_set(error, ERROR_IMAGE_IN_USE,
                         "the image \"%s\" is pinned by \"%s\"; remove the pin, or the image with "
                         "force=true",
                         text, pin);
    return true;
}

/* Only by force does a holder lose its image: its row stays, holding nothing. */
static bool break_holds(struct catalogue_session *session, const struct victims *victims,
                        struct arena *arena, struct error *error)
{
    static const struct statement sandboxes = {
        "sandboxes_let_go",
        "UPDATE sandboxes s SET held_digest = NULL"
        "  FROM (SELECT DISTINCT unnest($1::text[]) AS digest) v"
        " WHERE s.held_digest = v.digest"
        "   AND NOT EXISTS (SELECT FROM image_refs r WHERE r.manifest_digest = v.digest"
        "                      AND r.reference <> ALL ($2::text[]))"};
    static const struct statement snapshots = {
        "snapshots_let_go",
        "UPDATE snapshots s SET held_digest = NULL"
        "  FROM (SELECT DISTINCT unnest($1::text[]) AS digest) v"
        " WHERE s.held_digest = v.digest"
        "   AND NOT EXISTS (SELECT FROM image_refs r WHERE r.manifest_digest = v.digest"
        "                      AND r.reference <> ALL ($2::text[]))"};
    struct rows rows;
    return QUERY(session, &sandboxes, arena, &rows, error, victims->manifests,
                 victims->references) &&
           QUERY(session, &snapshots, arena, &rows, error, victims->manifests, victims->references);
}

static bool remove_image(struct catalogue_session *session, void *context, struct error *error)
{
    const struct image_removal *request = context;
    struct victims victims;
    return removal_begin(session, request->arena, error) &&
           find_victims(session, request, &victims, error) &&
           removal_lock_manifests(session, &victims, request->arena, error) &&
           (request->force ? break_holds(session, &victims, request->arena, error)
                           : refuse_if_used(session, request, &victims, error)) &&
           removal_sweep(session, &victims, request->arena, request->removal, error);
}

bool catalogue_remove_image(struct catalogue *catalogue, const struct reference *reference,
                            const struct platform *platform, bool force, struct arena *arena,
                            struct removal *removal, struct id_list *users, struct error *error)
{
    *users = (struct id_list){0};
    struct image_removal request = {reference, platform, force, arena, removal, users};
    return catalogue_transact(catalogue, remove_image, &request, error);
}

/* --- prune --- */

struct prune {
    const struct prune_options *options;
    struct arena *arena;
    struct removal *removal;
};

/* References that nobody uses and that the options admit, least recently used first.
 *
 * With keep_bytes only as many as are needed: a layer (or fsmeta, vmdk) goes with the
 * most recently used reference that needs it, so `freed` at each reference is the sum
 * of what goes once it and all before it are gone. What a reference that stays needs
 * has no such rank and never counts. */
static bool find_prunable(struct catalogue_session *session, const struct prune *prune,
                          struct victims *victims, struct error *error)
{
    static const struct statement find = {
        "prune_victims",
        "WITH free AS MATERIALIZED ("
        "    SELECT r.* FROM image_refs r"
        "     WHERE ($1::text IS NULL OR r.reference LIKE glob_to_like($1))"
        "       AND r.last_used_at <= now() - make_interval(secs => $2::bigint)"
        "       AND NOT EXISTS (SELECT FROM sandboxes s WHERE s.held_digest = r.manifest_digest)"
        "       AND NOT EXISTS (SELECT FROM snapshots s WHERE s.held_digest = r.manifest_digest)"
        "       AND NOT EXISTS (SELECT FROM pins p WHERE r.reference LIKE glob_to_like(p.pattern))"
        "       AND NOT EXISTS (SELECT FROM pulls p WHERE p.reference = r.reference"
        "                          AND p.finished_at IS NULL)),"
        " ranked AS MATERIALIZED ("
        "    SELECT r.reference, r.os, r.architecture, r.variant, r.manifest_digest,"
        "           f.reference IS NULL AS stays,"
        "           row_number() OVER (ORDER BY f.last_used_at, r.reference, r.os,"
        "               r.architecture, r.variant) AS rank"
        "      FROM image_refs r LEFT JOIN free f"
        "           USING (reference, os, architecture, variant)),"
        " manifest_ranks AS ("
        "    SELECT m.digest, m.fsmeta_size_bytes + m.vmdk_size_bytes AS bytes,"
        "           CASE WHEN bool_or(r.stays) THEN NULL ELSE max(r.rank) END AS rank"
        "      FROM manifests m JOIN ranked r ON r.manifest_digest = m.digest"
        "     GROUP BY m.digest),"
        " layer_ranks AS ("
        "    SELECT l.diff_id, l.erofs_size_bytes AS bytes,"
        "           CASE WHEN bool_or(m.rank IS NULL) THEN NULL ELSE max(m.rank) END AS rank"
        "      FROM layers l JOIN manifest_layers ml ON ml.diff_id = l.diff_id"
        "           JOIN manifest_ranks m ON m.digest = ml.manifest_digest"
        "     GROUP BY l.diff_id),"
        " files AS ("
        "    SELECT bytes, rank FROM manifest_ranks UNION ALL SELECT bytes, rank FROM layer_ranks),"
        " total AS (SELECT coalesce(sum(bytes), 0) AS bytes FROM files),"
        " freed_before AS ("
        "    SELECT r.rank, coalesce(sum(f.bytes) OVER (ORDER BY r.rank"
        "               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes"
        "      FROM ranked r"
        "      LEFT JOIN (SELECT rank, sum(bytes) AS bytes FROM files GROUP BY rank) f"
        "           USING (rank)"
        "     WHERE NOT r.stays)"
        " SELECT reference, os, architecture, variant, manifest_digest"
        "   FROM ranked JOIN freed_before b USING (rank), total"
        "  WHERE NOT stays"
        "    AND ($3::bigint IS NULL OR total.bytes - b.bytes > $3::bigint)"
        "  ORDER BY reference, os, architecture, variant"};
    const struct prune_options *options = prune->options;
    struct rows rows;
    if (!QUERY(session, &find, prune->arena, &rows, error, options->reference_glob,
               parameter_int(prune->arena, options->unused_for_seconds),
               options->has_keep_bytes ? parameter_int(prune->arena, options->keep_bytes) : NULL))
        return false;
    victims_from_rows(&rows, prune->arena, victims);
    return true;
}

/* Locks references and manifests first, then keeps only those victims that nobody
 * began to use before the locks were there. */
static bool confirm_prunable(struct catalogue_session *session, const struct prune *prune,
                             struct victims *victims, struct error *error)
{
    static const struct statement lock = {
        "prune_lock", "SELECT r.reference FROM image_refs r"
                      "  JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[])"
                      "       AS v (reference, os, architecture, variant)"
                      "       USING (reference, os, architecture, variant)"
                      " ORDER BY r.reference, r.os, r.architecture, r.variant"
                      " FOR UPDATE OF r"};
    static const struct statement confirm = {
        "prune_confirm",
        "SELECT r.reference, r.os, r.architecture, r.variant, r.manifest_digest FROM image_refs r"
        "  JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])"
        "       AS v (reference, os, architecture, variant, manifest_digest)"
        "       USING (reference, os, architecture, variant, manifest_digest)"
        " WHERE r.last_used_at <= now() - make_interval(secs => $6::bigint)"
        "   AND NOT EXISTS (SELECT FROM sandboxes s WHERE s.held_digest = r.manifest_digest)"
        "   AND NOT EXISTS (SELECT FROM snapshots s WHERE s.held_digest = r.manifest_digest)"};
    struct rows rows;
    if (!QUERY(session, &lock, prune->arena, &rows, error, victims->references, victims->oses,
               victims->architectures, victims->variants) ||
        !removal_lock_manifests(session, victims, prune->arena, error) ||
        !QUERY(session, &confirm, prune->arena, &rows, error, victims->references, victims->oses,
               victims->architectures, victims->variants, victims->manifests,
               parameter_int(prune->arena, prune->options->unused_for_seconds)))
        return false;
    victims_from_rows(&rows, prune->arena, victims);
    return true;
}

static bool prune_all(struct catalogue_session *session, void *context, struct error *error)
{
    const struct prune *prune = context;
    struct victims victims;
    return removal_begin(session, prune->arena, error) &&
           find_prunable(session, prune, &victims, error) &&
           confirm_prunable(session, prune, &victims, error) &&
           removal_sweep(session, &victims, prune->arena, prune->removal, error);
}

bool catalogue_prune(struct catalogue *catalogue, const struct prune_options *options,
                     struct arena *arena, struct removal *removal, struct error *error)
{
    struct prune prune = {options, arena, removal};
    return options->dry_run ? catalogue_rehearse(catalogue, prune_all, &prune, error)
                            : catalogue_transact(catalogue, prune_all, &prune, error);
}

/* --- what a pull leaves --- */

struct drop {
    const char *pull_id;
    const char *node_id;
    struct arena *arena;
    struct removal *removal;
};

static bool drop_pull_layers(struct catalogue_session *session, void *context, struct error *error)
{
    const struct drop *drop = context;
    return removal_drop_pull_layers(session, drop->pull_id, drop->node_id, drop->arena,
                                    drop->removal, error);
}

bool catalogue_drop_pull_layers(struct catalogue *catalogue, const char *pull_id,
                                const char *node_id, struct arena *arena, struct removal *removal,
                                struct error *error)
{
    struct drop drop = {pull_id, node_id, arena, removal};
    return catalogue_transact(catalogue, drop_pull_layers, &drop, error);
}
