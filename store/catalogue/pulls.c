/* Pulls as users see them: queued, found, listed, cancelled. (What the node that
 * runs one does: pull_progress.c, pull_commit.c.) */
#include "store/catalogue/pulls.h"

#include "store/catalogue/page_token.h"
#include "store/catalogue/pull_rows.h"

#include <string.h>

static bool find_by_id(struct catalogue_session *session, const char *id, struct arena *arena,
                       struct pull *pull, struct error *error)
{
    static const struct statement find = {
        "pull_find",
        "SELECT " PULL_COLUMNS "  FROM pulls p LEFT JOIN pull_layers l ON l.pull_id = p.id"
        " WHERE p.id = $1::uuid"
        " ORDER BY l.position"};
    struct rows rows;
    if (!QUERY(session, &find, arena, &rows, error, id))
        return false;
    struct pull *pulls = NULL;
    if (pull_rows_read(&rows, arena, &pulls) == 0)
        return error_set(error, ERROR_PULL_NOT_FOUND, "there is no pull \"%s\"", id);
    *pull = pulls[0];
    return true;
}

bool catalogue_queue_pull(struct catalogue *catalogue, const struct pull_request *request,
                          struct arena *arena, struct pull *pull, bool *joined, struct error *error)
{
    /* Who joins with the stricter wish makes it the pull's. */
    static const struct statement queue = {
        "pull_queue", "INSERT INTO pulls AS p (reference, platform, policy, force)"
                      " VALUES ($1, $2, $3, $4::boolean)"
                      " ON CONFLICT (reference, platform)"
                      "    WHERE finished_at IS NULL AND NOT cancel_requested"
                      "      AND policy NOT IN ('never', 'load')"
                      " DO UPDATE SET force = p.force OR excluded.force,"
                      "    policy = CASE excluded.policy WHEN 'always' THEN 'always'"
                      "             ELSE p.policy END"
                      " RETURNING id, xmax <> 0"};
    char reference[REFERENCE_TEXT_SIZE];
    char platform[PLATFORM_TEXT_SIZE];
    reference_format(request->reference, reference);
    platform_format(request->platform, platform);

    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &queue, arena, &rows, error, reference, platform,
                           pull_policy_name(request->policy), parameter_bool(request->force)))
        return false;
    *joined = rows_bool(&rows, 0, 1);
    return find_by_id(session, rows_text(&rows, 0, 0), arena, pull, error);
}

/* RFC 9562's text form, so that PostgreSQL need not be asked to refuse it. */
static bool is_uuid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (strlen(text) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i]; i++) {
        bool right = form[i] == '-' ? text[i] == '-'
                                    : text[i] && strchr("0123456789abcdefABCDEF", text[i]) != NULL;
        if (!right)
            return false;
    }
    return true;
}

bool catalogue_find_pull(struct catalogue *catalogue, const char *id, struct arena *arena,
                         struct pull *pull, struct error *error)
{
    if (!is_uuid(id))
        return error_set(error, ERROR_PULL_NOT_FOUND, "there is no pull \"%s\"", id);
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    return session && find_by_id(session, id, arena, pull, error);
}

bool catalogue_list_pulls(struct catalogue *catalogue, size_t limit, const char *page_token,
                          struct arena *arena, struct pull_page *page, struct error *error)
{
    /* One more than the page tells whether there is a next one. */
    static const struct statement list = {
        "pull_list",
        "SELECT " PULL_COLUMNS ", p.created_at"
        "  FROM (SELECT * FROM pulls"
        "         WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1::timestamptz, $2::uuid)"
        "         ORDER BY created_at DESC, id DESC"
        "         LIMIT $3::bigint + 1) p"
        "  LEFT JOIN pull_layers l ON l.pull_id = p.id"
        " ORDER BY p.created_at DESC, p.id DESC, l.position"};
    enum { KEY_PARTS = 2 };
    const char *after[KEY_PARTS] = {NULL, NULL};
    if (page_token && !page_token_parse(page_token, "pulls", arena, after, KEY_PARTS, error))
        return false;

    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &list, arena, &rows, error, after[0], after[1],
                           parameter_int(arena, (int64_t)limit)))
        return false;
    page->count = pull_rows_read(&rows, arena, &page->pulls);
    page->next_page_token = NULL;
    if (page->count > limit) {
        page->count = limit;
        const char *last_id = page->pulls[limit - 1].id;
        page->next_page_token = page_token_format(
            arena, "pulls", (const char *[]){pull_rows_created_at(&rows, last_id), last_id},
            KEY_PARTS);
    }
    return true;
}

bool catalogue_cancel_pull(struct catalogue *catalogue, const char *id, bool *ended,
                           struct error *error)
{
    static const struct statement cancel = {
        "pull_cancel",
        "UPDATE pulls p"
        "   SET cancel_requested = true,"
        "       state = CASE WHEN w.idle THEN 'cancelled' ELSE p.state END,"
        "       finished_at = CASE WHEN w.idle THEN now() ELSE p.finished_at END"
        "  FROM (SELECT id, finished_at IS NULL AND NOT EXISTS ("
        "               SELECT FROM nodes n"
        "                WHERE n.id = node_id AND n.heartbeat_at > now() - " NODE_DEAD_AFTER ")"
        "               AS idle"
        "          FROM pulls WHERE id = $1::uuid FOR UPDATE) w"
        " WHERE p.id = w.id"
        " RETURNING w.idle"};
    if (!is_uuid(id))
        return error_set(error, ERROR_PULL_NOT_FOUND, "there is no pull \"%s\"", id);
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &cancel, &arena, &rows, error, id))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_PULL_NOT_FOUND, "there is no pull \"%s\"", id);
    *ended = rows_bool(&rows, 0, 0);
    return true;
}
