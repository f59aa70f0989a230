/* Registering sandboxes in one round trip: the usual case, for one or for many. */
#include "store/catalogue/holders.h"
#include "store/catalogue/image_rows.h"

#include <string.h>

/* $1 ids, $2 hosts, $3 rootfs, $4 references, $5 their names, $6 their digests, $7 lifetimes:
 * one of each for a sandbox. $8 to $10 the platform, $11 the only host whose sandboxes may be
 * changed, or NULL.
 *
 * References are locked before manifests, and those before holders, as removals do; each kind
 * in one order: `stale` has locked what `touched` changes once it is known what was written. No row
 * comes back for one whose image is not here for exactly this platform, and for one that renews a
 * reference which has moved on, for it keeps what it runs on, or is another host's. Those take the
 * long way. */
static const struct statement register_all = {
    "sandboxes_register",
    "WITH given AS MATERIALIZED ("
    "    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],"
    "                         $6::text[], $7::bigint[])"
    "      WITH ORDINALITY AS g(id, host, rootfs, reference, name, digest, ttl, position)),"
    " meant AS MATERIALIZED ("
    "    SELECT g.position, i.*"
    "      FROM given g CROSS JOIN LATERAL ("
    "        SELECT * FROM image_refs i"
    "         WHERE (i.reference = g.reference"
    "                OR (i.name = g.name AND i.manifest_digest = g.digest)"
    "                OR (i.name = g.name AND i.index_digest = g.digest))"
    "           AND i.os = $8 AND i.architecture = $9 AND i.variant = $10"
    "         ORDER BY i.reference <> g.reference, i.reference"
    "         LIMIT 1) i"
    "     WHERE g.reference IS NOT NULL),"
    " stale AS ("
    "    SELECT reference, os, architecture, variant FROM image_refs r"
    "     WHERE EXISTS (SELECT FROM meant m"
    "                    WHERE m.reference = r.reference AND m.manifest_digest = r.manifest_digest)"
    "       AND reference = ANY (ARRAY(SELECT DISTINCT reference FROM meant))"
    "       AND os = $8 AND architecture = $9 AND variant = $10"
    "       AND" IS_USE_DUE "       FOR NO KEY UPDATE SKIP LOCKED),"
    " held AS ("
    "    SELECT digest, layer_count, size_bytes FROM manifests"
    "     WHERE digest = ANY (ARRAY(SELECT DISTINCT manifest_digest FROM meant))"
    "       AND (SELECT count(*) >= 0 FROM stale)"
    "     ORDER BY digest"
    "       FOR KEY SHARE),"
    " written AS ("
    "    INSERT INTO sandboxes AS s (id, host, rootfs, reference, manifest_digest, held_digest,"
    "        expires_at)"
    "    SELECT g.id, g.host, g.rootfs::json, g.reference, h.digest, h.digest,"
    "           now() + g.ttl * interval '1 second'"
    "      FROM given g LEFT JOIN meant m USING (position)"
    "      LEFT JOIN held h ON h.digest = m.manifest_digest"
    "     WHERE g.reference IS NULL OR h.digest IS NOT NULL"
    "     ORDER BY g.id"
    "    ON CONFLICT (id) DO UPDATE"
    "      SET host = excluded.host, rootfs = excluded.rootfs, reference = excluded.reference,"
    "          manifest_digest = excluded.manifest_digest, held_digest = excluded.held_digest,"
    "          expires_at = excluded.expires_at,"
    "          created_at = CASE WHEN s.expires_at IS NULL OR s.expires_at > now()"
    "                            THEN s.created_at ELSE now() END"
    "    WHERE (s.reference = excluded.reference AND s.held_digest <> excluded.held_digest"
    "           AND (s.expires_at IS NULL OR s.expires_at > now())) IS NOT TRUE"
    "      AND ($11::text IS NULL OR s.host = $11 OR s.expires_at <= now())"
    /* Only a new one is as old as the transaction. */
    "    RETURNING id, created_at, expires_at, created_at = now() AS is_new),"
    " touched AS ("
    "    UPDATE image_refs r SET last_used_at = now() FROM stale v"
    "     WHERE r.reference = v.reference AND r.os = v.os"
    "       AND r.architecture = v.architecture AND r.variant = v.variant"
    "       AND v.reference = ANY (ARRAY(SELECT m.reference FROM written JOIN given USING (id)"
    "                                      JOIN meant m USING (position)))"
    "    RETURNING r.reference, r.last_used_at)"
    " SELECT g.position, epoch_ms(w.created_at), epoch_ms(w.expires_at), w.is_new,"
    "        m.index_digest, t.reference IS NOT NULL,"
    "        m.reference, m.manifest_digest, m.architecture, m.os, m.variant, h.layer_count,"
    "        h.size_bytes, epoch_ms(m.created_at), epoch_ms(coalesce(t.last_used_at, "
    "m.last_used_at))"
    "   FROM written w JOIN given g USING (id) LEFT JOIN meant m USING (position)"
    "   LEFT JOIN held h ON h.digest = m.manifest_digest"
    "   LEFT JOIN touched t ON t.reference = m.reference"};

enum {
    COLUMN_POSITION,
    COLUMN_CREATED,
    COLUMN_EXPIRES,
    COLUMN_IS_NEW,
    COLUMN_INDEX_DIGEST,
    COLUMN_TOUCHED,
    COLUMN_HANDLE,
};
enum { PARAMETER_COUNT = 11, TRIES_MAX = 5 };

/* The arrays of the statement, one value a sandbox. */
struct columns {
    const char **ids;
    const char **hosts;
    const char **rootfs;
    const char **references;
    const char **names;
    const char **digests;
    const char **ttls;
};

static void add_row(struct columns *columns, size_t row,
                    const struct sandbox_registration *registration, struct arena *arena)
{
    columns->ids[row] = registration->id;
    columns->hosts[row] = registration->host;
    columns->rootfs[row] = registration->rootfs_json;
    if (registration->expires)
        columns->ttls[row] = parameter_int(arena, registration->ttl_seconds);
    if (!registration->reference)
        return;
    char text[REFERENCE_TEXT_SIZE];
    reference_format(registration->reference, text);
    columns->references[row] = arena_strdup(arena, text);
    reference_format_name(registration->reference, text);
    columns->names[row] = arena_strdup(arena, text);
    if (registration->reference->digest[0])
        columns->digests[row] = registration->reference->digest;
}

static void make_parameters(const struct sandbox_registration *registrations, size_t count,
                            const struct platform *platform, struct arena *arena,
                            const char *parameters[PARAMETER_COUNT])
{
    struct columns columns = {0};
    const char ***const arrays[] = {&columns.ids,        &columns.hosts, &columns.rootfs,
                                    &columns.references, &columns.names, &columns.digests,
                                    &columns.ttls};
    enum { ARRAY_COUNT = sizeof(arrays) / sizeof(arrays[0]) };
    for (size_t i = 0; i < ARRAY_COUNT; i++)
        *arrays[i] = arena_alloc_array(arena, count, sizeof(char *));
    for (size_t row = 0; row < count; row++)
        add_row(&columns, row, &registrations[row], arena);
    for (size_t i = 0; i < ARRAY_COUNT; i++)
        parameters[i] = parameter_text_array(arena, *arrays[i], count);
    parameters[ARRAY_COUNT] = platform->os;
    parameters[ARRAY_COUNT + 1] = platform->architecture;
    parameters[ARRAY_COUNT + 2] = platform->variant;
    parameters[ARRAY_COUNT + 3] = registrations[0].only_host;
}

static void read_row(const struct rows *rows, size_t row,
                     const struct sandbox_registration *registrations,
                     struct registered_sandbox *registered, struct arena *arena)
{
    size_t position = (size_t)rows_int(rows, row, COLUMN_POSITION) - 1;
    const struct sandbox_registration *given = &registrations[position];
    struct registered_sandbox *one = &registered[position];
    bool expires = rows_text(rows, row, COLUMN_EXPIRES) != NULL;
    one->is_registered = true;
    one->is_new = rows_bool(rows, row, COLUMN_IS_NEW);
    one->sandbox =
        (struct sandbox){.id = given->id,
                         .host = given->host,
                         .rootfs_json = given->rootfs_json,
                         .created_at_ms = rows_int(rows, row, COLUMN_CREATED),
                         .expires = expires,
                         .expires_at_ms = expires ? rows_int(rows, row, COLUMN_EXPIRES) : 0};
    if (!given->reference)
        return;
    one->image = arena_alloc(arena, sizeof(*one->image));
    handle_read(rows, row, COLUMN_HANDLE, one->image);
    one->index_digest = rows_text(rows, row, COLUMN_INDEX_DIGEST);
    one->was_touched = rows_bool(rows, row, COLUMN_TOUCHED);
}

/* PostgreSQL documentation, appendix A: these say that nothing was done. */
static bool may_retry(const struct error *error)
{
    return strcmp(error->sqlstate, "40P01") == 0 || /* deadlock_detected */
           strcmp(error->sqlstate, "23503") == 0;   /* foreign_key_violation */
}

static bool run(struct catalogue *catalogue, const char *const *parameters, struct arena *arena,
                struct rows *rows, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session)
        return false;
    for (int tries = 1;; tries++) {
        if (session_query(session, &register_all, parameters, PARAMETER_COUNT, arena, rows, error))
            return true;
        if (tries == TRIES_MAX || !may_retry(error))
            return false;
    }
}

bool catalogue_register_sandboxes(struct catalogue *catalogue,
                                  const struct sandbox_registration *registrations, size_t count,
                                  const struct platform *platform, struct arena *arena,
                                  struct registered_sandbox *registered, struct error *error)
{
    const char *parameters[PARAMETER_COUNT];
    struct rows rows;
    make_parameters(registrations, count, platform, arena, parameters);
    if (!run(catalogue, parameters, arena, &rows, error)) {
        if (strcmp(error->sqlstate, "23514") == 0) /* check_violation */
            error_set(error, ERROR_INVALID_ARGUMENT, "%s", sandbox_check_violated);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        registered[i] = (struct registered_sandbox){0};
    for (size_t row = 0; row < rows.count; row++)
        read_row(&rows, row, registrations, registered, arena);
    return true;
}

static const struct statement details = {
    "image_details", "SELECT m.digest, " DETAIL_COLUMNS "  FROM manifests m" DETAIL_JOINS
                     " WHERE m.digest = $1 ORDER BY ml.position"};

bool catalogue_find_details(struct catalogue *catalogue, const char *manifest_digest,
                            struct arena *arena, struct image_detail *detail, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &details, arena, &rows, error, manifest_digest))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_IMAGE_NOT_FOUND, "the manifest %s is not in the cache",
                         manifest_digest);
    detail_read(&rows, 0, rows.count, 1, arena, detail);
    detail->handle.manifest_digest = rows_text(&rows, 0, 0);
    return true;
}
