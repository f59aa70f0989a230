/* Sandboxes: registering, and reading with the whole of their images. */
#include "store/catalogue/holders.h"

#include "store/catalogue/image_rows.h"
#include "store/catalogue/page_token.h"
#include "store/catalogue/transaction.h"

#include <assert.h>
#include <string.h>

/* By PostgreSQL's clock. */
#define IS_LIVE "(s.expires_at IS NULL OR s.expires_at > now())"

/* The handle of a held image. Its reference may have moved on to another manifest, or
 * be gone (deleted while another one kept the manifest): then it is as it was given. */
#define HELD_HANDLE_COLUMNS                                                                        \
    "coalesce(r.reference, s.reference), m.digest, m.architecture, m.os, m.variant,"               \
    " m.layer_count, m.size_bytes, epoch_ms(coalesce(r.created_at, m.created_at)),"                \
    " epoch_ms(coalesce(r.last_used_at, m.created_at))"
#define HELD_REFERENCE_JOIN                                                                        \
    "  LEFT JOIN LATERAL (SELECT * FROM image_refs i WHERE i.manifest_digest = m.digest"           \
    "                      ORDER BY i.reference <> s.reference, i.created_at, i.reference"         \
    "                      LIMIT 1) r ON true"

/* --- reading --- */

enum { SANDBOX_COLUMN_COUNT = 5 };
/* Manifests that are read at once, each of up to JSON_DOCUMENT_MAX_BYTES. A page may end with the
 * first few. */
enum { FIRST_GROUP_MANIFESTS = 4, GROUP_MANIFESTS_MAX = 16 };
#define SANDBOX_COLUMNS "s.id, s.host, s.rootfs, epoch_ms(s.created_at), epoch_ms(s.expires_at)"
#define SELECT_SANDBOXES(from)                                                                     \
    "SELECT " SANDBOX_COLUMNS ", " HELD_HANDLE_COLUMNS "  FROM " from " s"                         \
    "  LEFT JOIN manifests m ON m.digest = s.held_digest" HELD_REFERENCE_JOIN

static void sandbox_read(const struct rows *rows, size_t row, struct arena *arena,
                         struct sandbox *sandbox)
{
    bool expires = rows_text(rows, row, 4) != NULL;
    *sandbox = (struct sandbox){.id = rows_text(rows, row, 0),
                                .host = rows_text(rows, row, 1),
                                .rootfs_json = rows_text(rows, row, 2),
                                .created_at_ms = rows_int(rows, row, 3),
                                .expires = expires,
                                .expires_at_ms = expires ? rows_int(rows, row, 4) : 0};
    if (!rows_text(rows, row, SANDBOX_COLUMN_COUNT + 1)) /* holds no manifest */
        return;
    struct image_detail *image = arena_alloc(arena, sizeof(*image));
    handle_read(rows, row, SANDBOX_COLUMN_COUNT, &image->handle);
    sandbox->image = image;
}

/* How many of the sandboxes, from the first on, hold no more than so many manifests; their digests.
 */
static size_t count_group(const struct sandbox *sandboxes, size_t count, size_t max,
                          const char **digests, size_t *digest_count)
{
    for (size_t i = 0; i < count; i++) {
        size_t known = 0;
        const char *digest = sandboxes[i].image ? sandboxes[i].image->handle.manifest_digest : NULL;
        while (digest && known < *digest_count && strcmp(digests[known], digest) != 0)
            known++;
        if (!digest || known < *digest_count)
            continue;
        if (known == max)
            return i;
        digests[(*digest_count)++] = digest;
    }
    return count;
}

/* Gives every sandbox of the manifest in these rows its layers and config. */
static void spread_detail(const struct rows *rows, size_t first_row, size_t row_count,
                          struct sandbox *sandboxes, size_t count, struct arena *arena)
{
    struct image_detail detail;
    detail_read(rows, first_row, row_count, 1, arena, &detail);
    for (size_t i = 0; i < count; i++) {
        struct image_detail *image = sandboxes[i].image;
        if (!image || strcmp(image->handle.manifest_digest, rows_text(rows, first_row, 0)) != 0)
            continue;
        detail.handle = image->handle;
        *image = detail;
    }
}

/* Completes the images of the first sandboxes, each manifest read once; *done: of how many. */
static bool complete_group(struct catalogue_session *session, struct sandbox *sandboxes,
                           size_t count, size_t max_manifests, size_t *done, struct arena *arena,
                           struct error *error)
{
    static const struct statement details = {"sandbox_images", "SELECT m.digest, " DETAIL_COLUMNS
                                                               "  FROM manifests m" DETAIL_JOINS
                                                               " WHERE m.digest = ANY ($1::text[])"
                                                               " ORDER BY m.digest, ml.position"};
    const char *digests[GROUP_MANIFESTS_MAX];
    size_t held = 0;
    struct rows rows;
    *done = count_group(sandboxes, count, max_manifests, digests, &held);
    if (held == 0)
        return true;
    if (!QUERY(session, &details, arena, &rows, error, parameter_text_array(arena, digests, held)))
        return false;
    for (size_t row = 0, end = 0; row < rows.count; row = end) {
        for (end = row + 1; end < rows.count; end++)
            if (strcmp(rows_text(&rows, row, 0), rows_text(&rows, end, 0)) != 0)
                break;
        spread_detail(&rows, row, end - row, sandboxes, *done, arena);
    }
    for (size_t i = 0; i < *done; i++) /* taken by force between the two statements */
        if (sandboxes[i].image && !sandboxes[i].image->layers)
            sandboxes[i].image = NULL;
    return true;
}

/* Roughly, of its answer. */
static size_t size_of(const struct sandbox *sandbox)
{
    enum { LAYER_BYTES = 400 };
    size_t size = strlen(sandbox->rootfs_json);
    if (sandbox->image)
        size += strlen(sandbox->image->config_json) + sandbox->image->layer_count * LAYER_BYTES;
    return size;
}

/* The images of a page, which ends early when they are large. */
static bool complete_page(struct catalogue_session *session, struct sandbox_page *page,
                          struct arena *arena, struct error *error)
{
    size_t bytes = 0;
    for (size_t done = 0, end = 0; done < page->count;) {
        size_t max = done == 0 ? FIRST_GROUP_MANIFESTS : GROUP_MANIFESTS_MAX;
        if (!complete_group(session, page->sandboxes + done, page->count - done, max, &end, arena,
                            error))
            return false;
        for (end += done; done < end; done++) {
            bytes += size_of(&page->sandboxes[done]);
            if (bytes > SANDBOX_PAGE_MAX_BYTES && done > 0) {
                page->count = done;
                return true;
            }
        }
    }
    return true;
}

bool catalogue_find_sandbox(struct catalogue *catalogue, const char *id, struct arena *arena,
                            struct sandbox *sandbox, struct error *error)
{
    static const struct statement find = {
        "sandbox_find", SELECT_SANDBOXES("sandboxes") " WHERE " IS_LIVE " AND s.id = $1"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &find, arena, &rows, error, id))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_SANDBOX_NOT_FOUND, "there is no sandbox \"%s\"", id);
    sandbox_read(&rows, 0, arena, sandbox);
    size_t one = 0;
    return complete_group(session, sandbox, 1, 1, &one, arena, error);
}

/* $1 to $3 filter, $4 is the id before, $5 the limit; one row more tells whether there is a next
 * page. A filter that may be NULL is no index condition in a plan for all values, so each has a
 * statement of its own, and the others are looked at in what that one finds; see
 * image_list_statement() for CASE. A reference may have a hundred thousand sandboxes: the page is
 * taken before its images are looked for. Of all sandboxes it is taken after that, for then
 * PostgreSQL goes through them in order, and would sort them all otherwise. */
#define IS_MEANT                                                                                   \
    IS_LIVE " AND CASE WHEN ($1::text IS NULL OR s.host = $1)"                                     \
            "              AND ($2::text IS NULL OR s.reference = $2)"                             \
            "              AND ($3::text IS NULL OR s.held_digest = $3) THEN true END"             \
            " AND s.id > coalesce($4::text, '')"
#define PAGE " ORDER BY s.id LIMIT $5::bigint + 1"
#define LIST_BY(key)                                                                               \
    SELECT_SANDBOXES("(SELECT * FROM sandboxes s WHERE " key " AND " IS_MEANT PAGE ")")            \
    " ORDER BY s.id"

static const struct statement *list_statement(const struct sandbox_filter *filter)
{
    static const struct statement by_host = {"sandbox_list_by_host", LIST_BY("s.host = $1")};
    static const struct statement by_reference = {"sandbox_list_by_reference",
                                                  LIST_BY("s.reference = $2")};
    static const struct statement by_manifest = {"sandbox_list_by_manifest",
                                                 LIST_BY("s.held_digest = $3")};
    static const struct statement all = {"sandbox_list",
                                         SELECT_SANDBOXES("sandboxes") " WHERE " IS_MEANT PAGE};
    if (filter->host)
        return &by_host;
    if (filter->reference)
        return &by_reference;
    return filter->manifest_digest ? &by_manifest : &all;
}

bool catalogue_list_sandboxes(struct catalogue *catalogue, const struct sandbox_filter *filter,
                              size_t limit, const char *page_token, struct arena *arena,
                              struct sandbox_page *page, struct error *error)
{
    assert(limit > 0);
    const char *after = NULL;
    if (page_token && !page_token_parse(page_token, "sandboxes", arena, &after, 1, error))
        return false;
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, list_statement(filter), arena, &rows, error, filter->host,
                           filter->reference, filter->manifest_digest, after,
                           parameter_int(arena, (int64_t)limit)))
        return false;
    page->count = rows.count < limit ? rows.count : limit;
    page->sandboxes = arena_alloc_array(arena, page->count, sizeof(*page->sandboxes));
    for (size_t row = 0; row < page->count; row++)
        sandbox_read(&rows, row, arena, &page->sandboxes[row]);
    if (!complete_page(session, page, arena, error))
        return false;
    page->next_page_token =
        rows.count > page->count
            ? page_token_format(arena, "sandboxes", &page->sandboxes[page->count - 1].id, 1)
            : NULL;
    return true;
}

/* --- registering: what sandbox_register.c leaves --- */

const char sandbox_check_violated[] =
    "a sandbox has an id and a host of 1 to 255 characters and a rootfs of type oci, bind or disk";

/* The image that a live sandbox of this id already holds by this reference: it runs on
 * that one, whatever the reference leads to by now. *found false: there is none. */
static bool find_held(struct catalogue_session *session,
                      const struct sandbox_registration *registration, const char *reference,
                      struct arena *arena, struct image_detail *image, bool *found,
                      struct error *error)
{
    static const struct statement find = {
        "sandbox_find_held",
        "SELECT " HELD_HANDLE_COLUMNS ", " DETAIL_COLUMNS "  FROM sandboxes s"
        "  JOIN manifests m ON m.digest = s.held_digest" HELD_REFERENCE_JOIN DETAIL_JOINS
        " WHERE s.id = $1 AND s.reference = $2 AND " IS_LIVE " ORDER BY ml.position"};
    struct rows rows;
    if (!QUERY(session, &find, arena, &rows, error, registration->id, reference))
        return false;
    *found = rows.count > 0;
    if (!*found)
        return true;
    handle_read(&rows, 0, 0, &image->handle);
    detail_read(&rows, 0, rows.count, HANDLE_COLUMN_COUNT, arena, image);
    const struct platform *wanted = registration->choice->wanted;
    struct platform held = handle_platform(&image->handle);
    *found = !wanted || platform_rank(wanted, &held) >= 0;
    return true;
}

static bool resolve_image(struct catalogue_session *session,
                          const struct sandbox_registration *registration, const char *reference,
                          struct arena *arena, struct image_detail *image, struct error *error)
{
    bool found = false;
    return find_held(session, registration, reference, arena, image, &found, error) &&
           (found || image_inspect(session, registration->reference, registration->choice, arena,
                                   image, error));
}

/* $1 id, $2 host, $3 rootfs, $4 reference, $5 manifest or NULL, $6 ttl or NULL, $7 to $10
 * the image's row, $11 the only host whose sandbox may be changed, or NULL. References are
 * locked before manifests, and those before holders, as removals do: `stale` has locked what
 * `touched` changes once the sandbox is written. No row comes back when the manifest went
 * meanwhile, or when a live sandbox of that id is another host's. */
static const struct statement put = {
    "sandbox_put",
    "WITH stale AS ("
    "    SELECT reference, os, architecture, variant FROM image_refs"
    "     WHERE reference = $7 AND os = $8 AND architecture = $9 AND variant = $10"
    "       AND manifest_digest = $5 AND" IS_USE_DUE "       FOR NO KEY UPDATE SKIP LOCKED),"
    " held AS ("
    "    SELECT digest FROM manifests"
    "     WHERE digest = $5 AND (SELECT count(*) >= 0 FROM stale)"
    "       FOR KEY SHARE),"
    " written AS ("
    "    INSERT INTO sandboxes AS s (id, host, rootfs, reference, manifest_digest, held_digest,"
    "        expires_at)"
    "    SELECT $1, $2, $3::json, $4, $5, $5, now() + $6::bigint * interval '1 second'"
    "      FROM (SELECT count(*) AS manifests FROM held) h"
    "     WHERE $5::text IS NULL OR h.manifests = 1"
    "    ON CONFLICT (id) DO UPDATE"
    "      SET host = excluded.host, rootfs = excluded.rootfs, reference = excluded.reference,"
    "          manifest_digest = excluded.manifest_digest, held_digest = excluded.held_digest,"
    "          expires_at = excluded.expires_at,"
    "          created_at = CASE WHEN " IS_LIVE " THEN s.created_at ELSE now() END"
    "    WHERE $11::text IS NULL OR s.host = $11 OR NOT " IS_LIVE
    /* Only a new one is as old as the transaction. */
    "    RETURNING created_at, expires_at, created_at = now() AS is_new),"
    " touched AS ("
    "    UPDATE image_refs r SET last_used_at = now() FROM stale v"
    "     WHERE r.reference = v.reference AND r.os = v.os"
    "       AND r.architecture = v.architecture AND r.variant = v.variant"
    "       AND EXISTS (SELECT FROM written)"
    "    RETURNING r.last_used_at)"
    " SELECT epoch_ms(created_at), epoch_ms(expires_at), is_new,"
    "        (SELECT epoch_ms(last_used_at) FROM touched)"
    "   FROM written"};

/* Is there a live sandbox of that id of another host than the only one allowed? */
static bool check_owner(struct catalogue_session *session, const char *id, const char *only_host,
                        struct arena *arena, struct error *error)
{
    static const struct statement find = {
        "sandbox_owner", "SELECT s.host FROM sandboxes s WHERE s.id = $1 AND " IS_LIVE};
    struct rows rows;
    if (!QUERY(session, &find, arena, &rows, error, id))
        return false;
    return rows.count == 0 || strcmp(rows_text(&rows, 0, 0), only_host) == 0 ||
           error_set(error, ERROR_FORBIDDEN, "the sandbox \"%s\" is not one of %s", id, only_host);
}

static bool write_sandbox(struct catalogue_session *session,
                          const struct sandbox_registration *registration, const char *reference,
                          const struct image_handle *image, struct arena *arena, struct rows *rows,
                          struct error *error)
{
    const char *ttl =
        registration->expires ? parameter_int(arena, registration->ttl_seconds) : NULL;
    if (!QUERY(session, &put, arena, rows, error, registration->id, registration->host,
               registration->rootfs_json, reference, image ? image->manifest_digest : NULL, ttl,
               image ? image->reference : NULL, image ? image->os : NULL,
               image ? image->architecture : NULL, image ? image->variant : NULL,
               registration->only_host)) {
        if (strcmp(error->sqlstate, "23514") == 0) /* check_violation */
            error_set(error, ERROR_INVALID_ARGUMENT, "%s", sandbox_check_violated);
        return false;
    }
    if (rows->count > 0)
        return true;
    if (registration->only_host &&
        !check_owner(session, registration->id, registration->only_host, arena, error))
        return false;
    return error_set(error, ERROR_IMAGE_NOT_FOUND, "the image \"%s\" is not in the cache any more",
                     reference);
}

bool catalogue_put_sandbox(struct catalogue *catalogue,
                           const struct sandbox_registration *registration, struct arena *arena,
                           struct sandbox *sandbox, bool *created, struct error *error)
{
    const char *reference = NULL;
    struct image_detail *image = NULL;
    if (registration->reference) {
        char text[REFERENCE_TEXT_SIZE];
        reference_format(registration->reference, text);
        reference = arena_strdup(arena, text);
        image = arena_alloc(arena, sizeof(*image));
    }
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session ||
        (image && !resolve_image(session, registration, reference, arena, image, error)) ||
        !write_sandbox(session, registration, reference, image ? &image->handle : NULL, arena,
                       &rows, error))
        return false;
    *created = rows_bool(&rows, 0, 2);
    if (image && rows_text(&rows, 0, 3))
        image->handle.last_used_at_ms = rows_int(&rows, 0, 3);
    bool expires = rows_text(&rows, 0, 1) != NULL;
    *sandbox = (struct sandbox){.id = arena_strdup(arena, registration->id),
                                .host = arena_strdup(arena, registration->host),
                                .rootfs_json = arena_strdup(arena, registration->rootfs_json),
                                .created_at_ms = rows_int(&rows, 0, 0),
                                .expires = expires,
                                .expires_at_ms = expires ? rows_int(&rows, 0, 1) : 0,
                                .image = image};
    return true;
}

/* --- releasing --- */

bool catalogue_remove_sandbox(struct catalogue *catalogue, const char *id, const char *only_host,
                              struct error *error)
{
    static const struct statement take = {"sandbox_remove",
                                          "DELETE FROM sandboxes s"
                                          " WHERE s.id = $1 AND ($2::text IS NULL OR s.host = $2)"
                                          " RETURNING " IS_LIVE};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &take, &arena, &rows, error, id, only_host))
        return false;
    if (rows.count == 0 && only_host && !check_owner(session, id, only_host, &arena, error))
        return false;
    return (rows.count > 0 && rows_bool(&rows, 0, 0)) ||
           error_set(error, ERROR_SANDBOX_NOT_FOUND, "there is no sandbox \"%s\"", id);
}

/* Locked in the order in which registrations lock them. */
static bool remove_host(struct catalogue_session *session, void *context, struct error *error)
{
    static const struct statement take = {"host_remove",
                                          "DELETE FROM sandboxes WHERE id IN ("
                                          "    SELECT id FROM sandboxes WHERE host = $1"
                                          "     ORDER BY id FOR UPDATE)"};
    const char *const *host = context;
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    return QUERY(session, &take, &arena, &rows, error, *host);
}

bool catalogue_remove_host(struct catalogue *catalogue, const char *host, struct error *error)
{
    return catalogue_transact(catalogue, remove_host, &host, error);
}

bool catalogue_expire_sandboxes(struct catalogue *catalogue, int64_t *expired, struct error *error)
{
    /* One that is renewed right now is left alone. No index tells which: a renewal would have to
     * change it. */
    static const struct statement expire = {"sandboxes_expire",
                                            "DELETE FROM sandboxes WHERE id IN ("
                                            "    SELECT id FROM sandboxes WHERE expires_at <= now()"
                                            "     LIMIT $1::bigint FOR UPDATE SKIP LOCKED)"};
    enum { BATCH = 1000 }; /* some 10 ms, beside what reading the table takes */
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows = {.affected = BATCH};
    *expired = 0;
    while (rows.affected == BATCH) {
        if (!session ||
            !QUERY(session, &expire, &arena, &rows, error, parameter_int(&arena, BATCH)))
            return false;
        *expired += (int64_t)rows.affected;
    }
    return true;
}
