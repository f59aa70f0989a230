/* Nodes and their heartbeats, and which node runs which pull. */
#include "store/catalogue/pull_rows.h"
#include "store/catalogue/session_internal.h"

#include <unistd.h>

/* How long finished pulls can be asked about, and dead nodes are remembered. */
#define KEPT_FOR "interval '7 days'"

/* Half of what makes a node dead. */
#define BEATS_BREAK_AFTER "interval '5 seconds'"

/* Whether the node $1 may take others for dead: not before it has beaten for so long without a
 * break that each one that lives must have beaten, too. The catalogue may have been away for all.
 * Part of the statement that judges, for that may itself have waited until the catalogue was back.
 */
#define MAY_JUDGE                                                                                  \
    "EXISTS (SELECT FROM nodes judge WHERE judge.id = $1::uuid"                                    \
    "   AND judge.heartbeat_at > now() - " BEATS_BREAK_AFTER                                       \
    "   AND judge.beating_since < now() - " NODE_DEAD_AFTER ")"

bool catalogue_register_node(struct catalogue *catalogue, const char *node_id, const char *address,
                             struct error *error)
{
    static const struct statement enter = {
        "node_register",
        "INSERT INTO nodes (id, hostname, version, address, schema_version)"
        " VALUES ($1::uuid, $2, $3, $4, $5::integer)"
        " ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), beating_since = now()"};
    char hostname[256] = "";
    (void)gethostname(hostname, sizeof(hostname) - 1);

    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session &&
           QUERY(session, &enter, &arena, &rows, error, node_id, hostname, LARDER_VERSION, address,
                 parameter_int(&arena, catalogue_known_version()));
}

bool catalogue_beat_node(struct catalogue *catalogue, const char *node_id, const char *address,
                         double load, bool *is_too_old, struct error *error)
{
    /* A node that slept so long that its row was removed enters again. */
    static const struct statement beat = {
        "node_beat",
        "INSERT INTO nodes (id, hostname, version, address, load, schema_version)"
        " VALUES ($1::uuid, '', $2, $3, $4::real, $5::integer)"
        " ON CONFLICT (id) DO UPDATE"
        "   SET heartbeat_at = now(), address = excluded.address, load = excluded.load,"
        "       beating_since = CASE WHEN nodes.heartbeat_at > now() - " BEATS_BREAK_AFTER
        "                            THEN nodes.beating_since ELSE now() END"
        " RETURNING (SELECT needs_version > $5::integer FROM catalogue)"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &beat, &arena, &rows, error, node_id, LARDER_VERSION, address,
                           arena_printf(&arena, "%.2f", load),
                           parameter_int(&arena, catalogue_known_version())))
        return false;
    *is_too_old = rows_bool(&rows, 0, 0);
    return true;
}

bool catalogue_list_nodes(struct catalogue *catalogue, struct arena *arena, struct node_row **nodes,
                          size_t *count, struct error *error)
{
    /* pulls_unfinished has the unfinished pulls alone. */
    static const struct statement list = {
        "nodes_list",
        "SELECT n.id, n.hostname, n.version, n.address, round(n.load::numeric, 2),"
        "       (SELECT count(*) FROM pulls p WHERE p.finished_at IS NULL AND p.node_id = n.id),"
        "       epoch_ms(n.started_at),"
        "       (extract(epoch FROM now() - n.heartbeat_at) * 1000)::bigint"
        "  FROM nodes n"
        " WHERE n.heartbeat_at > now() - " NODE_DEAD_AFTER " ORDER BY n.started_at, n.id"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !session_query(session, &list, NULL, 0, arena, &rows, error))
        return false;
    *count = rows.count;
    *nodes = arena_alloc_array(arena, rows.count, sizeof(**nodes));
    for (size_t row = 0; row < rows.count; row++)
        (*nodes)[row] = (struct node_row){.id = rows_text(&rows, row, 0),
                                          .hostname = rows_text(&rows, row, 1),
                                          .version = rows_text(&rows, row, 2),
                                          .address = rows_text(&rows, row, 3),
                                          .load = rows_text(&rows, row, 4),
                                          .running_pulls = rows_int(&rows, row, 5),
                                          .started_at_ms = rows_int(&rows, row, 6),
                                          .heartbeat_age_ms = rows_int(&rows, row, 7)};
    return true;
}

/* One that hangs, or whose host lost its power, still has its connections as far as
 * PostgreSQL knows, and with them its locks. It comes back without them and finds its pulls
 * lost. A moment later than the pulls go, so that it is no close race. */
bool catalogue_disconnect_dead_nodes(struct catalogue *catalogue, const char *judge,
                                     struct error *error)
{
    static const struct statement disconnect = {
        "nodes_disconnect_dead",
        "SELECT pg_terminate_backend(a.pid) FROM nodes n"
        "  JOIN pg_stat_activity a ON a.application_name = '" NODE_APPLICATION_PREFIX "' || n.id"
        " WHERE n.heartbeat_at < now() - " NODE_DEAD_AFTER " - interval '1 second'"
        "   AND a.datname = current_database() AND " MAY_JUDGE};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session && QUERY(session, &disconnect, &arena, &rows, error, judge);
}

/* Rows of (id, which): those that it is true of, and those that it is not. */
static void sort_out(const struct rows *rows, struct arena *arena, struct id_list *of_true,
                     struct id_list *of_false)
{
    of_true->ids = arena_alloc_array(arena, rows->count, sizeof(*of_true->ids));
    of_false->ids = arena_alloc_array(arena, rows->count, sizeof(*of_false->ids));
    of_true->count = of_false->count = 0;
    for (size_t row = 0; row < rows->count; row++) {
        struct id_list *list = rows_bool(rows, row, 1) ? of_true : of_false;
        list->ids[list->count++] = rows_text(rows, row, 0);
    }
}

bool catalogue_look_after_pulls(struct catalogue *catalogue, const char *node_id,
                                const struct id_list *running, struct arena *arena,
                                struct id_list *cancelled, struct id_list *lost,
                                struct error *error)
{
    static const struct statement look = {
        "pulls_look_after",
        "SELECT r.id, p.id IS NOT NULL AND p.state <> 'done' AND p.cancel_requested"
        "  FROM unnest($1::text[]) AS r (id)"
        "  LEFT JOIN pulls p ON p.id = r.id::uuid AND p.node_id = $2::uuid"
        " WHERE p.id IS NULL OR p.finished_at IS NOT NULL OR p.cancel_requested"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &look, arena, &rows, error,
                           parameter_text_array(arena, running->ids, running->count), node_id))
        return false;
    sort_out(&rows, arena, cancelled, lost);
    return true;
}

bool catalogue_dead_nodes(struct catalogue *catalogue, const char *judge, char *const *node_ids,
                          struct arena *arena, struct id_list *dead, struct id_list *unknown,
                          struct error *error)
{
    static const struct statement find = {
        "nodes_dead",
        "SELECT candidate, n.id IS NOT NULL"
        "  FROM unnest($2::text[]) candidate LEFT JOIN nodes n ON n.id::text = candidate"
        " WHERE n.id IS NULL OR n.heartbeat_at <= now() - " NODE_DEAD_AFTER
        "   AND ($1::uuid IS NULL OR " MAY_JUDGE ")"};
    size_t count = 0;
    while (node_ids[count])
        count++;
    const char **texts = arena_alloc_array(arena, count, sizeof(*texts));
    for (size_t i = 0; i < count; i++)
        texts[i] = node_ids[i];

    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &find, arena, &rows, error, judge,
                           parameter_text_array(arena, texts, count)))
        return false;
    sort_out(&rows, arena, dead, unknown);
    return true;
}

bool catalogue_leave_node(struct catalogue *catalogue, const char *node_id, struct error *error)
{
    static const struct statement leave = {
        "node_leave",
        "WITH given_back AS ("
        "    UPDATE pulls SET state = 'queued', node_id = NULL, attempts = attempts - 1"
        "     WHERE node_id = $1::uuid AND finished_at IS NULL)"
        " DELETE FROM nodes WHERE id = $1::uuid"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session && QUERY(session, &leave, &arena, &rows, error, node_id);
}

bool catalogue_trim_history(struct catalogue *catalogue, struct error *error)
{
    /* created_at is older than finished_at, and has the index. */
    static const struct statement trim = {
        "history_trim",
        "WITH old_pulls AS ("
        "    DELETE FROM pulls"
        "     WHERE created_at < now() - " KEPT_FOR " AND finished_at < now() - " KEPT_FOR "),"
        " old_commits AS (DELETE FROM commits WHERE made_at < now() - interval '1 hour'),"
        " old_figures AS (DELETE FROM reaped_files WHERE reaped_at < now() - interval '1 day')"
        " DELETE FROM nodes WHERE heartbeat_at < now() - " KEPT_FOR};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    return session && session_query(session, &trim, NULL, 0, &arena, &rows, error);
}

bool catalogue_claim_pull(struct catalogue *catalogue, const char *node_id, struct arena *arena,
                          struct pull *pull, bool *claimed, struct error *error)
{
    static const struct statement claim = {
        "pull_claim",
        "WITH claimed AS ("
        "    UPDATE pulls"
        "       SET node_id = $1::uuid, state = 'resolving', attempts = attempts + 1,"
        "           started_at = coalesce(started_at, now())"
        "     WHERE id = ("
        "        SELECT p.id FROM pulls p"
        "         WHERE p.finished_at IS NULL"
        "           AND (p.state = 'queued' OR NOT EXISTS ("
        "                SELECT FROM nodes n"
        "                 WHERE n.id = p.node_id AND n.heartbeat_at > now() - " NODE_DEAD_AFTER ")"
        "                AND " MAY_JUDGE ")"
        "         ORDER BY p.created_at"
        "         LIMIT 1"
        "         FOR UPDATE SKIP LOCKED)"
        "    RETURNING *)"
        " SELECT " PULL_COLUMNS "   FROM claimed p LEFT JOIN pull_layers l ON l.pull_id = p.id"
        "  ORDER BY l.position"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &claim, arena, &rows, error, node_id))
        return false;
    struct pull *pulls = NULL;
    *claimed = pull_rows_read(&rows, arena, &pulls) > 0;
    if (*claimed)
        *pull = pulls[0];
    return true;
}

bool catalogue_give_back_pulls(struct catalogue *catalogue, const char *node_id,
                               const struct id_list *running, size_t *count, struct error *error)
{
    /* pulls_unfinished has the unfinished pulls alone. */
    static const struct statement give_back = {
        "pulls_give_back",
        "UPDATE pulls SET state = 'queued', node_id = NULL, attempts = attempts - 1"
        " WHERE node_id = $1::uuid AND finished_at IS NULL AND id <> ALL ($2::text[]::uuid[])"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &give_back, &arena, &rows, error, node_id,
                           parameter_text_array(&arena, running->ids, running->count)))
        return false;
    *count = rows.affected;
    return true;
}
