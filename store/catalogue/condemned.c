#include "store/catalogue/condemned.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS " c.kind, c.digest, c.reference, c.removal_id, c.ctid"

static void take_rows(const struct rows *rows, struct arena *arena, struct condemned_batch *batch)
{
    batch->count = rows->count;
    batch->files = arena_alloc_array(arena, rows->count, sizeof(*batch->files));
    for (size_t row = 0; row < rows->count; row++) {
        struct condemned_file *file = &batch->files[row];
        file->kind = rows_text(rows, row, 0);
        file->digest = rows_text(rows, row, 1);
        file->reference = rows_text(rows, row, 2);
        file->removal_id = rows_text(rows, row, 3);
        file->place = rows_text(rows, row, 4);
        if (!blob_kind_parse(file->kind, &file->id.kind) ||
            !digest_parse(file->digest, &file->id.key))
            abort(); /* the table's checks admit nothing else */
    }
}

/* Pulls of nodes that were made for schema version 17 know nothing of locked rows: for them the
 * locks are taken. Of no more files at a time, since PostgreSQL has not room for many: 64 for each
 * connection that it allows, 6400 by default. To be deleted when needs_version is 18. */
static bool lock_files_too(struct catalogue_session *session, struct arena *arena,
                           struct condemned_batch *batch, struct error *error)
{
    enum { FILES_MAX = 256 };
    /* $1, $2: kinds and digests */
    static const struct statement lock = {
        "condemned_lock_files_too",
        "SELECT row FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS v (kind, digest, row)"
        " WHERE NOT pg_try_advisory_xact_lock(file_lock_class(kind), file_lock_key(digest))"};
    const size_t count = batch->count < FILES_MAX ? batch->count : FILES_MAX;
    const char **kinds = arena_alloc_array(arena, count, sizeof(*kinds));
    const char **digests = arena_alloc_array(arena, count, sizeof(*digests));
    for (size_t i = 0; i < count; i++) {
        kinds[i] = batch->files[i].kind;
        digests[i] = batch->files[i].digest;
    }
    struct rows busy;
    if (!QUERY(session, &lock, arena, &busy, error, parameter_text_array(arena, kinds, count),
               parameter_text_array(arena, digests, count)))
        return false;
    for (size_t row = 0; row < busy.count; row++)
        batch->files[rows_int(&busy, row, 0) - 1].is_busy = true;
    batch->has_more |= count < batch->count;
    batch->count = count; /* the others are for the next batch */
    return true;
}

static void mark_busy(struct condemned_batch *batch, const char *kind, const char *digest_start)
{
    for (size_t i = 0; i < batch->count; i++)
        if (strcmp(batch->files[i].kind, kind) == 0 &&
            strncmp(batch->files[i].digest, digest_start, strlen(digest_start)) == 0)
            batch->files[i].is_busy = true;
}

/* In a statement of its own, once the rows are locked: who takes a file's lock looks at its row
 * then. So of the two at least one sees the other. */
static bool find_busy(struct catalogue_session *session, struct arena *arena,
                      struct condemned_batch *batch, struct error *error)
{
    static const struct statement find = {"condemned_busy",
                                          "SELECT kind, digest_start FROM held_file_locks"
                                          " UNION ALL"
                                          " SELECT NULL, NULL WHERE EXISTS ("
                                          "     SELECT FROM nodes WHERE schema_version IS NULL)"};
    struct rows held;
    bool has_old_nodes = false;
    if (!session_query(session, &find, NULL, 0, arena, &held, error))
        return false;
    for (size_t row = 0; row < held.count; row++)
        if (rows_text(&held, row, 0))
            mark_busy(batch, rows_text(&held, row, 0), rows_text(&held, row, 1));
        else
            has_old_nodes = true;
    return !has_old_nodes || lock_files_too(session, arena, batch, error);
}

/* Asked once the files are ours: a pull commits its reference under the description's lock. */
static bool find_described(struct catalogue_session *session, struct arena *arena,
                           struct condemned_batch *batch, struct error *error)
{
    static const struct statement find = {
        "condemned_described",
        "SELECT v.row FROM unnest($1::text[]) WITH ORDINALITY AS v (reference, row)"
        " WHERE EXISTS (SELECT FROM image_refs r WHERE r.reference = v.reference)"};
    const char **references = arena_alloc_array(arena, batch->count, sizeof(*references));
    bool has_any = false;
    for (size_t i = 0; i < batch->count; i++) {
        if (!batch->files[i].is_busy)
            references[i] = batch->files[i].reference;
        has_any |= references[i] != NULL;
    }
    struct rows found = {0};
    if (has_any && !QUERY(session, &find, arena, &found, error,
                          parameter_text_array(arena, references, batch->count)))
        return false;
    for (size_t row = 0; row < found.count; row++)
        batch->files[rows_int(&found, row, 0) - 1].is_described = true;
    return true;
}

static bool take_locked(struct catalogue_session *session, const struct rows *rows,
                        struct arena *arena, struct condemned_batch *batch, struct error *error)
{
    take_rows(rows, arena, batch);
    return batch->count == 0 || (find_busy(session, arena, batch, error) &&
                                 find_described(session, arena, batch, error));
}

/* A scan of a range of places (TID Range Scan) goes through it in order; were it not to, what it
 * leaves out is for a later pass. */
bool condemned_lock_behind(struct catalogue_session *session, bool layers, const char *place,
                           size_t limit, struct arena *arena, struct condemned_batch *batch,
                           struct error *error)
{
    /* $1: behind that place; $2: layers, or all others; $3: how many. By no index on the kind,
     * which would give them in its own order. */
    static const struct statement lock = {
        "condemned_lock_behind", "SELECT" COLUMNS " FROM condemned_files c"
                                 " WHERE ctid > $1::tid AND (kind || '' = 'layer') = $2::boolean"
                                 " LIMIT $3::bigint"
                                 "   FOR UPDATE SKIP LOCKED"};
    struct rows rows;
    if (!QUERY(session, &lock, arena, &rows, error, place ? place : "(0,0)",
               layers ? "true" : "false", parameter_int(arena, (int64_t)limit)))
        return false;
    batch->has_more = rows.count == limit;
    return take_locked(session, &rows, arena, batch, error);
}

bool condemned_lock_given(struct catalogue_session *session, const struct blob_id *files,
                          size_t count, struct arena *arena, struct condemned_batch *batch,
                          struct error *error)
{
    /* $1, $2: kinds and digests */
    static const struct statement lock = {
        "condemned_lock_given", "SELECT" COLUMNS " FROM condemned_files c"
                                "  JOIN unnest($1::text[], $2::text[]) AS v (kind, digest)"
                                "    ON c.kind = v.kind AND c.digest = v.digest"
                                "   FOR UPDATE OF c SKIP LOCKED"};
    const char **kinds = arena_alloc_array(arena, count, sizeof(*kinds));
    const char **digests = arena_alloc_array(arena, count, sizeof(*digests));
    for (size_t i = 0; i < count; i++) {
        char *text = arena_alloc(arena, DIGEST_TEXT_SIZE);
        digest_format(&files[i].key, text);
        kinds[i] = blob_kind_name(files[i].kind);
        digests[i] = text;
    }
    struct rows rows;
    return QUERY(session, &lock, arena, &rows, error, parameter_text_array(arena, kinds, count),
                 parameter_text_array(arena, digests, count)) &&
           take_locked(session, &rows, arena, batch, error);
}

/* The arrays of what is done. */
struct ends {
    const char **places;
    size_t count;
    const char **removal_ids; /* from here on of what went */
    const char **kinds;
    const char **bytes;
    size_t gone_count;
};

static struct ends ends_of(const struct condemned_batch *batch, struct arena *arena)
{
    struct ends ends = {
        .places = arena_alloc_array(arena, batch->count, sizeof(char *)),
        .removal_ids = arena_alloc_array(arena, batch->count, sizeof(char *)),
        .kinds = arena_alloc_array(arena, batch->count, sizeof(char *)),
        .bytes = arena_alloc_array(arena, batch->count, sizeof(char *)),
    };
    for (size_t i = 0; i < batch->count; i++) {
        const struct condemned_file *file = &batch->files[i];
        if (file->end == CONDEMNED_STAYS)
            continue;
        ends.places[ends.count++] = file->place;
        if (file->end != CONDEMNED_GONE || !file->removal_id)
            continue;
        ends.removal_ids[ends.gone_count] = file->removal_id;
        ends.kinds[ends.gone_count] = file->kind;
        ends.bytes[ends.gone_count++] = parameter_int(arena, file->freed_bytes);
    }
    return ends;
}

bool condemned_forget(struct catalogue_session *session, const struct condemned_batch *batch,
                      struct arena *arena, struct error *error)
{
    /* $1: where the rows are; $2, $3, $4: of what is gone, for which prune, its kind and bytes */
    static const struct statement forget = {
        "condemned_forget",
        "WITH forgotten AS (DELETE FROM condemned_files WHERE ctid = ANY ($1::tid[]))"
        " INSERT INTO reaped_files (removal_id, layers, fsmeta, vmdk, descriptions, bytes)"
        " SELECT removal_id, count(*) FILTER (WHERE kind = 'layer'),"
        "        count(*) FILTER (WHERE kind = 'fsmeta'), count(*) FILTER (WHERE kind = 'vmdk'),"
        "        count(*) FILTER (WHERE kind = 'manifest'), sum(bytes)"
        "   FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS gone (removal_id, kind, bytes)"
        "  GROUP BY removal_id"};
    const struct ends ends = ends_of(batch, arena);
    struct rows rows;
    return QUERY(session, &forget, arena, &rows, error,
                 parameter_text_array(arena, ends.places, ends.count),
                 parameter_text_array(arena, ends.removal_ids, ends.gone_count),
                 parameter_text_array(arena, ends.kinds, ends.gone_count),
                 parameter_text_array(arena, ends.bytes, ends.gone_count));
}
