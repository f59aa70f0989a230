#include "store/catalogue/changes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Beyond that many rows, reading each key costs more than forgetting everything. */
#define KEYS_MAX      10000
#define TEXT_(number) #number
#define TEXT(number)  TEXT_(number)
#define LIMIT         TEXT(KEYS_MAX) " + 1"

/* $1 the snapshot. What was not visible in it are transactions that it has as running, and all that
 * came later; what is visible now is the statement's own snapshot. Each of those that ran is looked
 * up by itself: what was written since the oldest of them began would be all since the oldest
 * transaction of the whole server, which may be somebody's backup of another database.
 * A row comes back in any case: it tells the moment. A key that changed twice comes twice: DISTINCT
 * would take room for as many keys as PostgreSQL expects, a third of the log, and look through it
 * each time, also when nothing changed. The order is for PostgreSQL's sake, and so is BETWEEN:
 * which expecting so many would read all of a log that is no longer written in the order of its
 * rows.
 *
 * A backend that is killed restarts the others under the same postmaster, and the numbers of
 * transactions that no other saw are given out again: PostgreSQL drops its statistics then
 * (pgstat_discard_stats), so that the moment since which they count tells such runs apart. */
const struct statement changes_statement = {
    "changes_since",
    "SELECT pg_current_snapshot(),"
    "       concat_ws('/', extract(epoch FROM pg_postmaster_start_time()),"
    "                 extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time())), c.key"
    "  FROM (SELECT) one"
    "  LEFT JOIN ((SELECT key FROM change_log"
    "               WHERE xid >= pg_snapshot_xmax($1::pg_snapshot)"
    "               ORDER BY xid LIMIT " LIMIT ")"
    "             UNION ALL"
    "             SELECT ended.key FROM pg_snapshot_xip($1::pg_snapshot) AS running (xid)"
    "              CROSS JOIN LATERAL (SELECT key FROM change_log l"
    "                                   WHERE l.xid BETWEEN running.xid AND running.xid"
    "                                   ORDER BY l.xid LIMIT " LIMIT ") ended"
    "              LIMIT " LIMIT ") c ON true"};

enum { COLUMN_SNAPSHOT, COLUMN_SERVER, COLUMN_KEY };

static bool is_everything(const struct rows *rows)
{
    if (rows->count > KEYS_MAX)
        return true;
    for (size_t row = 0; row < rows->count; row++) {
        const char *key = rows_text(rows, row, COLUMN_KEY);
        if (key && strcmp(key, "*") == 0)
            return true;
    }
    return false;
}

void changes_read(const struct rows *rows, struct arena *arena, struct changes *changes)
{
    assert(rows->count > 0);
    *changes = (struct changes){.server = rows_text(rows, 0, COLUMN_SERVER),
                                .snapshot = rows_text(rows, 0, COLUMN_SNAPSHOT),
                                .everything = is_everything(rows)};
    if (changes->everything || !rows_text(rows, 0, COLUMN_KEY))
        return;
    const char **keys = arena_alloc_array(arena, rows->count, sizeof(*keys));
    for (size_t row = 0; row < rows->count; row++)
        keys[row] = rows_text(rows, row, COLUMN_KEY);
    changes->keys = keys;
    changes->count = rows->count;
}

bool catalogue_read_changes(struct catalogue *catalogue, const char *snapshot, struct arena *arena,
                            struct changes *changes, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &changes_statement, arena, &rows, error, snapshot))
        return false;
    changes_read(&rows, arena, changes);
    changes->everything |= !snapshot;
    return true;
}

bool session_read_own_changes(struct catalogue_session *session, struct arena *arena,
                              struct changes *changes, struct error *error)
{
    static const struct statement own = {
        "changes_own",
        "SELECT NULL, NULL, c.key"
        "  FROM (SELECT) one"
        "  LEFT JOIN (SELECT DISTINCT key FROM change_log WHERE xid = pg_current_xact_id()"
        "              LIMIT " LIMIT ") c ON true"};
    struct rows rows;
    if (!session_query(session, &own, NULL, 0, arena, &rows, error))
        return false;
    changes_read(&rows, arena, changes);
    return true;
}

void change_key_of(const struct reference *reference, char key[REFERENCE_TEXT_SIZE])
{
    if (!reference->digest[0]) {
        reference_format(reference, key);
        return;
    }
    reference_format_name(reference, key);
    size_t length = strlen(key);
    snprintf(key + length, REFERENCE_TEXT_SIZE - length, "@%s", reference->digest);
}

/* "xmin:xmax:xip,xip,…": all below xmax are over but those listed. Transactions only ever
 * join the ones that are over, so their number tells which snapshot is later. */
uint64_t snapshot_progress(const char *snapshot)
{
    const char *xmax = strchr(snapshot, ':');
    assert(xmax);
    char *running = NULL;
    uint64_t over = strtoull(xmax + 1, &running, 10);
    assert(*running == ':');
    if (running[1])
        over--;
    for (const char *comma = strchr(running, ','); comma; comma = strchr(comma + 1, ','))
        over--;
    return over;
}

bool catalogue_trim_changes(struct catalogue *catalogue, bool *is_more, struct error *error)
{
    /* $1 seconds, $2 rows. A mark says which transactions were over when it was made; ten minutes
     * later all nodes have read what those wrote. The oldest usable mark may go when a later one
     * is. */
    static const struct statement trim = {
        "changes_trim",
        "WITH marked AS ("
        "    INSERT INTO change_marks (marked_at)"
        "    SELECT now()"
        "     WHERE NOT EXISTS (SELECT FROM change_marks"
        "                        WHERE marked_at > now() - interval '1 minute')"
        "    ON CONFLICT DO NOTHING),"
        " usable AS ("
        "    SELECT marked_at, oldest_running FROM change_marks"
        "     WHERE marked_at < now() - $1::int * interval '1 second'"
        "     ORDER BY marked_at DESC LIMIT 1),"
        " unmarked AS ("
        "    DELETE FROM change_marks WHERE marked_at < (SELECT marked_at FROM usable))"
        " DELETE FROM change_log"
        "  WHERE ctid = ANY (ARRAY(SELECT ctid FROM change_log"
        "                           WHERE xid < (SELECT oldest_running FROM usable)"
        "                           ORDER BY xid LIMIT $2::int))"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session ||
        !QUERY(session, &trim, &arena, &rows, error, parameter_int(&arena, CHANGES_KEPT_SECONDS),
               parameter_int(&arena, CHANGES_TRIMMED_MAX)))
        return false;
    *is_more = rows.affected == CHANGES_TRIMMED_MAX;
    return true;
}
