/* A running pull, step by step, as its node writes it down. Each statement names the
 * node, so that one whose pull was taken over changes nothing. */
#include "store/catalogue/pull_rows.h"
#include "store/catalogue/transaction.h"

static bool lost_pull(struct error *error)
{
    return error_set(error, ERROR_PULL_CANCELLED,
                     "the pull ended or was taken over by another node");
}

/* The layers as parallel arrays for unnest(). */
struct layer_arrays {
    const char *positions;
    const char *diff_ids;
    const char *blob_digests;
    const char *media_types;
    const char *totals;
    const char *received;
    const char *inflated;
    const char *states;
};

static struct layer_arrays format_layers(const struct pull_layer *layers, size_t count,
                                         struct arena *arena)
{
    enum { POSITIONS, DIFF_IDS, BLOBS, TYPES, TOTALS, RECEIVED, INFLATED, STATES, ARRAYS };
    const char **columns[ARRAYS];
    for (int i = 0; i < ARRAYS; i++)
        columns[i] = arena_alloc_array(arena, count, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        columns[POSITIONS][i] = parameter_int(arena, layers[i].position);
        columns[DIFF_IDS][i] = layers[i].diff_id;
        columns[BLOBS][i] = layers[i].blob_digest;
        columns[TYPES][i] = layers[i].media_type;
        columns[TOTALS][i] = parameter_int(arena, layers[i].total_bytes);
        columns[RECEIVED][i] = parameter_int(arena, layers[i].received_bytes);
        columns[INFLATED][i] = parameter_int(arena, layers[i].tar_bytes);
        columns[STATES][i] = layers[i].state;
    }
    const char *texts[ARRAYS];
    for (int i = 0; i < ARRAYS; i++)
        texts[i] = parameter_text_array(arena, columns[i], count);
    return (struct layer_arrays){texts[POSITIONS], texts[DIFF_IDS], texts[BLOBS],    texts[TYPES],
                                 texts[TOTALS],    texts[RECEIVED], texts[INFLATED], texts[STATES]};
}

struct resolution {
    const char *node_id;
    const struct pull *pull;
};

/* What the pull built before another node took it over is done, and stays so. */
#define IS_BUILT "l.state = 'done' AND l.diff_id = excluded.diff_id AND l.held_diff_id IS NOT NULL"

static bool write_resolution(struct catalogue_session *session, void *context, struct error *error)
{
    static const struct statement advance = {
        "pull_resolved", "UPDATE pulls SET state = 'fetching', manifest_digest = $3"
                         " WHERE id = $1::uuid AND node_id = $2::uuid AND finished_at IS NULL"};
    static const struct statement forget = {
        "pull_layers_forget",
        "DELETE FROM pull_layers WHERE pull_id = $1::uuid AND position >= $2::int"};
    /* A pull that was taken over keeps hold of the layers that are finished. */
    static const struct statement record = {
        "pull_layers_record",
        "INSERT INTO pull_layers AS l"
        "    (pull_id, position, diff_id, blob_digest, media_type, total_bytes)"
        " SELECT $1::uuid, u.position::int, u.diff_id, u.blob, u.media_type, u.total::bigint"
        "   FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[])"
        "        AS u (position, diff_id, blob, media_type, total)"
        " ON CONFLICT (pull_id, position) DO UPDATE"
        "   SET diff_id = excluded.diff_id, blob_digest = excluded.blob_digest,"
        "       media_type = excluded.media_type, total_bytes = excluded.total_bytes,"
        "       received_bytes = CASE WHEN " IS_BUILT " THEN l.received_bytes ELSE 0 END,"
        "       tar_bytes = CASE WHEN " IS_BUILT " THEN l.tar_bytes ELSE 0 END,"
        "       state = CASE WHEN " IS_BUILT " THEN 'done' ELSE 'waiting' END,"
        "       held_diff_id = CASE WHEN l.diff_id = excluded.diff_id THEN l.held_diff_id END"};
    const struct resolution *resolution = context;
    const struct pull *pull = resolution->pull;
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(session, &advance, &arena, &rows, error, pull->id, resolution->node_id,
               pull->manifest_digest))
        return false;
    if (rows.affected == 0)
        return lost_pull(error);
    struct layer_arrays arrays = format_layers(pull->layers, pull->layer_count, &arena);
    return QUERY(session, &forget, &arena, &rows, error, pull->id,
                 parameter_int(&arena, (int64_t)pull->layer_count)) &&
           QUERY(session, &record, &arena, &rows, error, pull->id, arrays.positions,
                 arrays.diff_ids, arrays.blob_digests, arrays.media_types, arrays.totals);
}

bool catalogue_pull_resolved(struct catalogue *catalogue, const char *node_id,
                             const struct pull *pull, struct error *error)
{
    struct resolution resolution = {node_id, pull};
    return catalogue_transact(catalogue, write_resolution, &resolution, error);
}

bool catalogue_pull_composing(struct catalogue *catalogue, const char *node_id, const char *pull_id,
                              struct error *error)
{
    static const struct statement advance = {
        "pull_composing", "UPDATE pulls SET state = 'composing'"
                          " WHERE id = $1::uuid AND node_id = $2::uuid AND finished_at IS NULL"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &advance, &arena, &rows, error, pull_id, node_id))
        return false;
    return rows.affected > 0 || lost_pull(error);
}

bool catalogue_pull_progress(struct catalogue *catalogue, const char *node_id, const char *pull_id,
                             const struct pull_layer *layers, size_t layer_count,
                             struct error *error)
{
    static const struct statement write = {
        "pull_progress",
        "UPDATE pull_layers l"
        "   SET received_bytes = u.received::bigint, tar_bytes = u.inflated::bigint,"
        "       state = u.state"
        "  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])"
        "       AS u (position, received, inflated, state)"
        " WHERE l.pull_id = $1::uuid AND l.position = u.position::int"
        "   AND l.state IN ('waiting', 'fetching')"
        "   AND EXISTS (SELECT FROM pulls WHERE id = $1::uuid AND node_id = $6::uuid)"};
    cleanup_arena struct arena arena = {0};
    struct layer_arrays arrays = format_layers(layers, layer_count, &arena);
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session && QUERY(session, &write, &arena, &rows, error, pull_id, arrays.positions,
                            arrays.received, arrays.inflated, arrays.states, node_id);
}

bool catalogue_pull_failed(struct catalogue *catalogue, const char *node_id, const char *pull_id,
                           const struct error *why, struct error *error)
{
    /* Its finished layers stay, held by nobody: a retry reuses them, a prune takes them. */
    static const struct statement fail = {
        "pull_failed", "WITH ended AS ("
                       "    UPDATE pulls SET state = $3, error = $4::json, finished_at = now()"
                       "     WHERE id = $1::uuid AND node_id = $2::uuid AND finished_at IS NULL"
                       "    RETURNING id)"
                       " UPDATE pull_layers SET held_diff_id = NULL"
                       "  WHERE pull_id = (SELECT id FROM ended)"};
    bool cancelled = why->code == ERROR_PULL_CANCELLED;
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session && QUERY(session, &fail, &arena, &rows, error, pull_id, node_id,
                            pull_state_name(cancelled ? PULL_CANCELLED : PULL_FAILED),
                            cancelled ? NULL : pull_error_format(why, &arena));
}

/* Columns: held, erofs_size_bytes, erofs_digest, tar_size_bytes, built. */
static void read_hold(const struct rows *rows, const struct digest *diff_id, enum layer_hold *hold,
                      struct layer_record *record)
{
    *hold = LAYER_MISSING;
    *record = (struct layer_record){.diff_id = *diff_id};
    if (rows->count == 0)
        return;
    *hold = rows_bool(rows, 0, 4)   ? LAYER_BUILT
            : rows_bool(rows, 0, 0) ? LAYER_HELD
                                    : LAYER_CONDEMNED;
    record->erofs_size_bytes = rows_int(rows, 0, 1);
    record->tar_size_bytes = rows_int(rows, 0, 3);
    if (!digest_parse(rows_text(rows, 0, 2), &record->erofs_digest))
        abort(); /* the column's type admits nothing else */
}

bool catalogue_hold_layer(struct catalogue_session *lock, const char *pull_id,
                          const struct digest *diff_id, enum layer_hold *hold,
                          struct layer_record *record, struct error *error)
{
    static const struct statement take = {
        "layer_hold",
        "WITH found AS ("
        "    SELECT diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes FROM layers"
        "     WHERE diff_id = $2 FOR KEY SHARE),"
        " held AS ("
        "    UPDATE pull_layers SET held_diff_id = diff_id"
        "     WHERE pull_id = $1::uuid AND diff_id = $2 AND EXISTS (SELECT FROM found))"
        " SELECT true, erofs_size_bytes, erofs_digest, tar_size_bytes, EXISTS ("
        "        SELECT FROM pull_layers"
        "         WHERE pull_id = $1::uuid AND held_diff_id = $2 AND state = 'done')"
        "   FROM found"
        " UNION ALL"
        " SELECT false, size_bytes, erofs_digest, tar_size_bytes, false FROM condemned_files"
        "  WHERE kind = 'layer' AND digest = $2 AND NOT EXISTS (SELECT FROM found)"
        "    AND erofs_digest IS NOT NULL"}; /* of a swept orphan nobody knows what it is */
    char text[DIGEST_TEXT_SIZE];
    digest_format(diff_id, text);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(lock, &take, &arena, &rows, error, pull_id, text))
        return false;
    read_hold(&rows, diff_id, hold, record);
    return true;
}

bool catalogue_add_layer(struct catalogue_session *lock, const char *pull_id,
                         const struct layer_record *record, bool reused, struct error *error)
{
    static const struct statement add = {
        "layer_add",
        "WITH added AS ("
        "    INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes,"
        "        allocated_bytes)"
        "    VALUES ($2, $3::bigint, $4, $5::bigint, nullif($7::bigint, 0))"
        "    ON CONFLICT (diff_id) DO UPDATE"
        "      SET erofs_size_bytes = excluded.erofs_size_bytes,"
        "          erofs_digest = excluded.erofs_digest,"
        "          tar_size_bytes = excluded.tar_size_bytes,"
        "          allocated_bytes = excluded.allocated_bytes),"
        " pardoned AS ("
        "    DELETE FROM condemned_files WHERE kind = 'layer' AND digest = $2)"
        " UPDATE pull_layers"
        "    SET held_diff_id = diff_id, tar_bytes = $5::bigint,"
        "        state = CASE WHEN state = 'done' THEN state ELSE $6 END,"
        "        received_bytes = CASE WHEN $6 = 'done' OR state = 'done' THEN total_bytes ELSE 0"
        "                         END"
        "  WHERE pull_id = $1::uuid AND diff_id = $2"};
    char diff_id[DIGEST_TEXT_SIZE];
    char erofs_digest[DIGEST_TEXT_SIZE];
    digest_format(&record->diff_id, diff_id);
    digest_format(&record->erofs_digest, erofs_digest);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    return QUERY(lock, &add, &arena, &rows, error, pull_id, diff_id,
                 parameter_int(&arena, record->erofs_size_bytes), erofs_digest,
                 parameter_int(&arena, record->tar_size_bytes), reused ? "reused" : "done",
                 parameter_int(&arena, record->allocated_bytes));
}
