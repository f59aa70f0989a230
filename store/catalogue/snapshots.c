/* Snapshots: holders without a sandbox. */
#include "store/catalogue/holders.h"

#include "store/catalogue/page_token.h"

#include <assert.h>
#include <string.h>

#define SNAPSHOT_COLUMNS "id, manifest_digest, epoch_ms(created_at)"

static void snapshot_read(const struct rows *rows, size_t row, struct snapshot *snapshot)
{
    *snapshot = (struct snapshot){.id = rows_text(rows, row, 0),
                                  .manifest_digest = rows_text(rows, row, 1),
                                  .created_at_ms = rows_int(rows, row, 2)};
}

bool catalogue_put_snapshot(struct catalogue *catalogue, const char *id,
                            const char *manifest_digest, struct arena *arena,
                            struct snapshot *snapshot, bool *created, struct error *error)
{
    /* The manifest is locked before the holder, as removals do; without it there is no
     * row to insert. Only a new snapshot is as old as the transaction. */
    static const struct statement put = {
        "snapshot_put",
        "WITH held AS (SELECT digest FROM manifests WHERE digest = $2 FOR KEY SHARE)"
        " INSERT INTO snapshots (id, manifest_digest, held_digest)"
        " SELECT $1, digest, digest FROM held"
        " ON CONFLICT (id) DO UPDATE"
        "   SET manifest_digest = excluded.manifest_digest, held_digest = excluded.held_digest"
        " RETURNING " SNAPSHOT_COLUMNS ", created_at = now()"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session)
        return false;
    struct rows rows;
    if (!QUERY(session, &put, arena, &rows, error, id, manifest_digest)) {
        if (strcmp(error->sqlstate, "23514") == 0) /* check_violation */
            error_set(error, ERROR_INVALID_ARGUMENT, "a snapshot has an id of 1 to 255 characters");
        return false;
    }
    if (rows.count == 0)
        return error_set(error, ERROR_IMAGE_NOT_FOUND,
                         "no image with the manifest \"%s\" is in the cache", manifest_digest);
    snapshot_read(&rows, 0, snapshot);
    *created = rows_bool(&rows, 0, 3);
    return true;
}

bool catalogue_find_snapshot(struct catalogue *catalogue, const char *id, struct arena *arena,
                             struct snapshot *snapshot, struct error *error)
{
    static const struct statement find = {"snapshot_find", "SELECT " SNAPSHOT_COLUMNS
                                                           " FROM snapshots WHERE id = $1"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &find, arena, &rows, error, id))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_SNAPSHOT_NOT_FOUND, "there is no snapshot \"%s\"", id);
    snapshot_read(&rows, 0, snapshot);
    return true;
}

#define LIST_WHERE(filter)                                                                         \
    "SELECT " SNAPSHOT_COLUMNS "  FROM snapshots WHERE " filter                                    \
    "   AND id > coalesce($2::text, '') ORDER BY id LIMIT $3::bigint + 1"

bool catalogue_list_snapshots(struct catalogue *catalogue, const char *manifest_digest,
                              size_t limit, const char *page_token, struct arena *arena,
                              struct snapshot_page *page, struct error *error)
{
    /* As for sandboxes: a filter that may be NULL is no index condition in a plan for all values.
     */
    static const struct statement all = {"snapshot_list", LIST_WHERE("$1::text IS NULL")};
    static const struct statement by_manifest = {"snapshot_list_by_manifest",
                                                 LIST_WHERE("manifest_digest = $1::text")};
    assert(limit > 0);
    const char *after = NULL;
    if (page_token && !page_token_parse(page_token, "snapshots", arena, &after, 1, error))
        return false;
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, manifest_digest ? &by_manifest : &all, arena, &rows, error,
                           manifest_digest, after, parameter_int(arena, (int64_t)limit)))
        return false;
    page->count = rows.count < limit ? rows.count : limit;
    page->snapshots = arena_alloc_array(arena, page->count, sizeof(*page->snapshots));
    for (size_t row = 0; row < page->count; row++)
        snapshot_read(&rows, row, &page->snapshots[row]);
    page->next_page_token =
        rows.count > limit
            ? page_token_format(arena, "snapshots", &page->snapshots[limit - 1].id, 1)
            : NULL;
    return true;
}

bool catalogue_remove_snapshot(struct catalogue *catalogue, const char *id, struct error *error)
{
    static const struct statement take = {"snapshot_remove", "DELETE FROM snapshots WHERE id = $1"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &take, &arena, &rows, error, id))
        return false;
    return rows.affected > 0 ||
           error_set(error, ERROR_SNAPSHOT_NOT_FOUND, "there is no snapshot \"%s\"", id);
}
