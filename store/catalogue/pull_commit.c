/* The end of a pull: the one transaction that makes an image visible, or the one
 * statement that says that it was here. */
#include "store/catalogue/image_rows.h"
#include "store/catalogue/pull_rows.h"
#include "store/catalogue/transaction.h"

#include <string.h>

struct unborn {
    const char *manifest_digest;
    const char *reference; /* NULL: its description stays */
};

/* In the order of removals, which would wait for us in a circle otherwise. */
static bool condemn_unborn(struct catalogue_session *session, void *context, struct error *error)
{
    static const struct statement condemn = {
        "files_condemn_unborn",
        "INSERT INTO condemned_files (kind, digest, reference)"
        " SELECT 'manifest', description_digest($2), $2"
        "  WHERE $2 IS NOT NULL"
        " UNION ALL"
        " SELECT kind, $1, NULL FROM unnest(ARRAY['fsmeta', 'vmdk']) AS kind"
        "  WHERE NOT EXISTS (SELECT FROM manifests WHERE digest = $1)"
        " ON CONFLICT (kind, digest) DO NOTHING"};
    const struct unborn *image = context;
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    return QUERY(session, &condemn, &arena, &rows, error, image->manifest_digest, image->reference);
}

bool catalogue_condemn_unborn(struct catalogue_session *lock, const char *manifest_digest,
                              const struct reference *reference, struct error *error)
{
    char text[REFERENCE_TEXT_SIZE];
    if (reference)
        reference_format(reference, text);
    struct unborn image = {manifest_digest, reference ? text : NULL};
    return session_transact(lock, condemn_unborn, &image, error);
}

struct commit {
    const char *node_id;
    const struct pull *pull;
    const struct image_record *image;
    bool *again;
    char reference[REFERENCE_TEXT_SIZE];
    char name[REFERENCE_TEXT_SIZE];
};

/* Every transaction that touches images locks references before manifests. */
static bool lock_reference(struct catalogue_session *session, const struct commit *commit,
                           struct arena *arena, struct error *error)
{
    static const struct statement lock = {"image_lock",
                                          "SELECT FROM image_refs WHERE reference = $1 FOR UPDATE"};
    struct rows rows;
    return QUERY(session, &lock, arena, &rows, error, commit->reference);
}

static bool write_config(struct catalogue_session *session, const struct image_record *image,
                         struct arena *arena, struct error *error)
{
    /* DO UPDATE, not DO NOTHING: it locks the row against a concurrent removal. */
    static const struct statement write = {
        "config_write", "INSERT INTO configs (digest, raw, detail) VALUES ($1, $2::bytea, $3::json)"
                        " ON CONFLICT (digest) DO UPDATE SET detail = excluded.detail"};
    struct rows rows;
    return QUERY(session, &write, arena, &rows, error, image->config_digest,
                 parameter_bytes(arena, image->config_bytes, image->config_size_bytes),
                 image->config_detail_json);
}

static bool write_manifest(struct catalogue_session *session, const struct image_record *image,
                           struct arena *arena, struct error *error)
{
    static const struct statement write = {
        "manifest_write",
        "INSERT INTO manifests (digest, media_type, raw, config_digest, os, architecture,"
        "    variant, layer_count, size_bytes, fsmeta_size_bytes, fsmeta_digest,"
        "    vmdk_size_bytes, vmdk_digest, allocated_bytes)"
        " VALUES ($1, $2, $3::bytea, $4, $5, $6, $7, $8::int, $9::bigint, $10::bigint, $11,"
        "    $12::bigint, $13, nullif($14::bigint, 0))"
        " ON CONFLICT (digest) DO UPDATE"
        "   SET fsmeta_size_bytes = excluded.fsmeta_size_bytes,"
        "       fsmeta_digest = excluded.fsmeta_digest,"
        "       vmdk_size_bytes = excluded.vmdk_size_bytes,"
        "       vmdk_digest = excluded.vmdk_digest,"
        "       allocated_bytes = excluded.allocated_bytes"};
    struct rows rows;
    return QUERY(
        session, &write, arena, &rows, error, image->manifest_digest, image->manifest_media_type,
        parameter_bytes(arena, image->manifest_bytes, image->manifest_size_bytes),
        image->config_digest, image->platform->os, image->platform->architecture,
        image->platform->variant, parameter_int(arena, (int64_t)image->layer_count),
        parameter_int(arena, image->size_bytes), parameter_int(arena, image->fsmeta_size_bytes),
        image->fsmeta_digest, parameter_int(arena, image->vmdk_size_bytes), image->vmdk_digest,
        parameter_int(arena, image->allocated_bytes));
}

static bool write_layers(struct catalogue_session *session, const struct commit *commit,
                         struct arena *arena, struct error *error)
{
    /* From the pull's own record, so that both are the same list. */
    static const struct statement write = {
        "manifest_layers_write",
        "INSERT INTO manifest_layers (manifest_digest, position, diff_id, blob_digest,"
        "    media_type, compressed_size_bytes)"
        " SELECT $2, position, diff_id, blob_digest, media_type, total_bytes"
        "   FROM pull_layers WHERE pull_id = $1::uuid"
        " ON CONFLICT (manifest_digest, position) DO NOTHING"};
    struct rows rows;
    return QUERY(session, &write, arena, &rows, error, commit->pull->id,
                 commit->image->manifest_digest);
}

static bool write_reference(struct catalogue_session *session, const struct commit *commit,
                            struct arena *arena, struct error *error)
{
    /* The platform is the manifest's: the foreign key wants all four to agree. */
    static const struct statement write = {
        "image_write",
        "INSERT INTO image_refs (reference, os, architecture, variant, name, index_digest,"
        "    manifest_digest, description_allocated_bytes)"
        " SELECT $1, os, architecture, variant, $2, $3, digest, nullif($5::bigint, 0)"
        "   FROM manifests WHERE digest = $4"
        " ON CONFLICT (reference, os, architecture, variant) DO UPDATE"
        "   SET manifest_digest = excluded.manifest_digest,"
        "       index_digest = excluded.index_digest, last_used_at = now(),"
        "       description_allocated_bytes = excluded.description_allocated_bytes"};
    struct rows rows;
    return QUERY(session, &write, arena, &rows, error, commit->reference, commit->name,
                 commit->image->index_digest, commit->image->manifest_digest,
                 parameter_int(arena, commit->image->description_allocated_bytes));
}

/* A description that stayed as it was stays condemned if it is: it may be of an image that was
 * removed since it was looked at. The reaper, who has it next, sees. */
static bool pardon_files(struct catalogue_session *session, const struct commit *commit,
                         struct arena *arena, struct error *error)
{
    static const struct statement pardon = {"files_pardon",
                                            "DELETE FROM condemned_files"
                                            " WHERE (kind IN ('fsmeta', 'vmdk') AND digest = $1)"
                                            "    OR (kind = 'manifest' AND digest = $2)"};
    struct digest key = digest_of(commit->reference, strlen(commit->reference));
    char key_text[DIGEST_TEXT_SIZE];
    digest_format(&key, key_text);
    struct rows rows;
    return QUERY(session, &pardon, arena, &rows, error, commit->image->manifest_digest,
                 commit->image->is_described_by_another ? NULL : key_text);
}

/* Somebody may have joined it meanwhile with a stricter wish than it was run with: then
 * it is queued once more. Or cancelled it: who was told so finds nothing of it. */
static bool finish_pull(struct catalogue_session *session, const char *node_id,
                        const struct pull *pull, const char *manifest_digest, struct arena *arena,
                        bool *again, struct error *error)
{
    static const struct statement finish = {
        "pull_finish", "UPDATE pulls p SET manifest_digest = $3,"
                       "    state = CASE WHEN w.again THEN 'queued' ELSE 'done' END,"
                       "    node_id = CASE WHEN w.again THEN NULL ELSE p.node_id END,"
                       "    attempts = CASE WHEN w.again THEN 0 ELSE p.attempts END,"
                       "    finished_at = CASE WHEN w.again THEN NULL ELSE now() END"
                       "  FROM (SELECT id, cancel_requested, (force AND NOT $4::boolean)"
                       "               OR (policy = 'always' AND $5 <> 'always') AS again"
                       "          FROM pulls WHERE id = $1::uuid FOR UPDATE) w"
                       " WHERE p.id = w.id AND p.node_id = $2::uuid AND p.finished_at IS NULL"
                       "   AND NOT w.cancel_requested"
                       " RETURNING w.again"};
    static const struct statement let_go = {
        "pull_layers_let_go",
        "UPDATE pull_layers SET held_diff_id = NULL WHERE pull_id = $1::uuid"};
    /* What is built by then is no answer to who wants it built anew. */
    static const struct statement forget = {"pull_layers_restart",
                                            "DELETE FROM pull_layers WHERE pull_id = $1::uuid"};
    struct rows rows;
    if (!QUERY(session, &finish, arena, &rows, error, pull->id, node_id, manifest_digest,
               parameter_bool(pull->force), pull_policy_name(pull->policy)))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_PULL_CANCELLED,
                         "the pull was cancelled, ended or was taken over by another node");
    *again = rows_bool(&rows, 0, 0);
    return QUERY(session, *again ? &forget : &let_go, arena, &rows, error, pull->id);
}

static bool commit_image(struct catalogue_session *session, void *context, struct error *error)
{
    const struct commit *commit = context;
    cleanup_arena struct arena arena = {0};
    return lock_reference(session, commit, &arena, error) &&
           write_config(session, commit->image, &arena, error) &&
           write_manifest(session, commit->image, &arena, error) &&
           write_layers(session, commit, &arena, error) &&
           write_reference(session, commit, &arena, error) &&
           pardon_files(session, commit, &arena, error) &&
           finish_pull(session, commit->node_id, commit->pull, commit->image->manifest_digest,
                       &arena, commit->again, error);
}

bool catalogue_pull_done(struct catalogue_session *lock, const char *node_id,
                         const struct pull *pull, const struct image_record *image, bool *again,
                         struct error *error)
{
    struct commit commit = {.node_id = node_id, .pull = pull, .image = image, .again = again};
    reference_format(image->reference, commit.reference);
    reference_format_name(image->reference, commit.name);
    return session_transact(lock, commit_image, &commit, error);
}

/* `here`: the image, if it is that manifest still; its use is written. $1 reference, $2 to $4 its
 * platform, $5 the manifest, $6 what the reference must have led to, or NULL. */
#define HERE_AND_USED                                                                              \
    "WITH here AS ("                                                                               \
    "    SELECT manifest_digest FROM image_refs"                                                   \
    "     WHERE reference = $1 AND os = $2 AND architecture = $3 AND variant = $4"                 \
    "       AND manifest_digest = $5"                                                              \
    "       AND ($6::text IS NULL OR index_digest = $6 OR manifest_digest = $6)),"                 \
    " due AS ("                                                                                    \
    "    SELECT FROM image_refs"                                                                   \
    "     WHERE" IS_USE_DUE                                                                        \
    "       AND reference = $1 AND os = $2 AND architecture = $3 AND variant = $4"                 \
    "       AND EXISTS (SELECT FROM here)"                                                         \
    "       FOR NO KEY UPDATE SKIP LOCKED),"                                                       \
    " used AS ("                                                                                   \
    "    UPDATE image_refs SET last_used_at = now()"                                               \
    "     WHERE reference = $1 AND os = $2 AND architecture = $3 AND variant = $4"                 \
    "       AND EXISTS (SELECT FROM due))"

bool catalogue_record_cached_pull(struct catalogue *catalogue, const char *node_id,
                                  const struct pull_request *request,
                                  const struct image_handle *image, struct arena *arena,
                                  struct pull *pull, struct error *error)
{
    /* The image may be found by a digest: then it is not the reference that was asked for. */
    static const struct statement record = {
        "pull_record", HERE_AND_USED
        ", recorded AS ("
        "    INSERT INTO pulls (reference, platform, policy, force, state, node_id,"
        "        manifest_digest, started_at, finished_at)"
        "    SELECT $7, $8, $9, false, 'done', (SELECT id FROM nodes WHERE id = $10::uuid),"
        "        manifest_digest, now(), now()"
        "      FROM here"
        "    RETURNING *)"
        " SELECT " PULL_COLUMNS " FROM recorded p LEFT JOIN pull_layers l ON l.pull_id = p.id"};
    char reference[REFERENCE_TEXT_SIZE];
    char platform[PLATFORM_TEXT_SIZE];
    reference_format(request->reference, reference);
    platform_format(request->platform, platform);

    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    struct pull *pulls = NULL;
    if (!session || !QUERY(session, &record, arena, &rows, error, image->reference, image->os,
                           image->architecture, image->variant, image->manifest_digest, NULL,
                           reference, platform, pull_policy_name(request->policy), node_id))
        return false;
    if (pull_rows_read(&rows, arena, &pulls) == 0)
        return error_set(error, ERROR_IMAGE_NOT_FOUND, "the image \"%s\" went meanwhile",
                         image->reference);
    *pull = pulls[0];
    return true;
}

struct confirmation {
    const char *node_id;
    const struct pull *pull;
    const struct image_handle *image;
    const char *digest;
    bool *confirmed;
    bool *again;
};

static bool confirm_image(struct catalogue_session *session, void *context, struct error *error)
{
    static const struct statement confirm = {"image_confirm", HERE_AND_USED " SELECT FROM here"};
    const struct confirmation *what = context;
    const struct image_handle *image = what->image;
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(session, &confirm, &arena, &rows, error, what->pull->reference, image->os,
               image->architecture, image->variant, image->manifest_digest, what->digest))
        return false;
    *what->confirmed = rows.count > 0;
    return !*what->confirmed || finish_pull(session, what->node_id, what->pull,
                                            image->manifest_digest, &arena, what->again, error);
}

bool catalogue_confirm_pull(struct catalogue *catalogue, const char *node_id,
                            const struct pull *pull, const struct image_handle *image,
                            const char *digest, bool *confirmed, bool *again, struct error *error)
{
    struct confirmation what = {node_id, pull, image, digest, confirmed, again};
    return catalogue_transact(catalogue, confirm_image, &what, error);
}

bool catalogue_record_missing_pull(struct catalogue *catalogue, const char *node_id,
                                   const struct pull_request *request, const struct error *why,
                                   struct arena *arena, struct pull *pull, struct error *error)
{
    static const struct statement record = {
        "pull_record_missing",
        "WITH recorded AS ("
        "    INSERT INTO pulls (reference, platform, policy, force, state, node_id, error,"
        "        started_at, finished_at)"
        "    VALUES ($1, $2, $3, $4::boolean, 'failed',"
        "        (SELECT id FROM nodes WHERE id = $5::uuid), $6::json, now(), now())"
        "    RETURNING *)"
        " SELECT " PULL_COLUMNS " FROM recorded p LEFT JOIN pull_layers l ON l.pull_id = p.id"};
    char reference[REFERENCE_TEXT_SIZE];
    char platform[PLATFORM_TEXT_SIZE];
    reference_format(request->reference, reference);
    platform_format(request->platform, platform);

    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    struct pull *pulls = NULL;
    if (!session || !QUERY(session, &record, arena, &rows, error, reference, platform,
                           pull_policy_name(request->policy), parameter_bool(request->force),
                           node_id, pull_error_format(why, arena)))
        return false;
    (void)pull_rows_read(&rows, arena, &pulls);
    *pull = pulls[0];
    return true;
}
