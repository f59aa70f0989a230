/* Removing one image: refused while it is used, unless by force. */
#include "store/catalogue/removal.h"

#include "store/catalogue/removal_internal.h"
#include "store/catalogue/transaction.h"

struct image_removal {
    const struct reference *reference;
    const struct platform *platform; /* NULL: all */
    bool force;
    struct arena *arena; /* for what is handed out */
    struct removed_image *removed;
    struct id_list *users;
};

/* The order is that of a pull's end, which locks several as well. */
static bool find_victims(struct catalogue_session *session, const struct image_removal *request,
                         struct error *error)
{
    static const struct statement find = {
        "image_victims",
        "INSERT INTO removal_references"
        " SELECT reference, os, architecture, variant, manifest_digest, last_used_at,"
        "        description_allocated_bytes"
        "   FROM image_refs"
        "  WHERE (reference = $1"
        "         OR (name = $2 AND manifest_digest = $3)"
        "         OR (name = $2 AND index_digest = $3))"
        "    AND ($4::text IS NULL OR (os = $4 AND architecture = $5 AND variant = $6))"
        "  ORDER BY reference, os, architecture, variant"
        "    FOR UPDATE"};
    const struct reference *reference = request->reference;
    const struct platform *platform = request->platform;
    char text[REFERENCE_TEXT_SIZE];
    char name[REFERENCE_TEXT_SIZE];
    reference_format(reference, text);
    reference_format_name(reference, name);

    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(session, &find, &arena, &rows, error, text, name,
               reference->digest[0] ? reference->digest : NULL, platform ? platform->os : NULL,
               platform ? platform->architecture : NULL, platform ? platform->variant : NULL))
        return false;
    if (rows.affected == 0)
        return error_set(error, ERROR_IMAGE_NOT_FOUND, "the image \"%s\" is not in the cache%s",
                         text, platform ? " for that platform" : "");
    return removal_count_references(session, error);
}

/* So that nobody starts to hold them. */
static bool lock_manifests(struct catalogue_session *session, struct error *error)
{
    static const struct statement lock = {
        "image_lock_manifests",
        "INSERT INTO removal_manifests"
        " SELECT digest FROM manifests"
        "  WHERE digest IN (SELECT manifest_digest FROM removal_references) FOR UPDATE"};
    return removal_run(session, &lock, error) && removal_count_manifests(session, error);
}

#define LOST "SELECT m.digest FROM removal_manifests m WHERE" LOSES_ALL_REFERENCES

/* Sandboxes and snapshots that would lose their image, or name this reference. */
static bool find_users(struct catalogue_session *session, struct arena *arena,
                       struct id_list *users, struct error *error)
{
    static const struct statement find = {
        "image_users",
        "WITH lost AS (" LOST ")"
        " SELECT id FROM ("
        "    SELECT s.id FROM sandboxes s JOIN lost ON s.held_digest = lost.digest"
        "    UNION"
        "    SELECT s.id FROM sandboxes s JOIN removal_references v"
        "        ON s.held_digest = v.manifest_digest AND s.reference = v.reference"
        "    UNION"
        "    SELECT 'snapshot ' || s.id FROM snapshots s JOIN lost ON s.held_digest = lost.digest"
        " ) u"
        " ORDER BY id"};
    struct rows rows;
    if (!session_query(session, &find, NULL, 0, arena, &rows, error))
        return false;
    users->count = rows.count;
    users->ids = arena_alloc_array(arena, rows.count, sizeof(*users->ids));
    for (size_t row = 0; row < rows.count; row++)
        users->ids[row] = rows_text(&rows, row, 0);
    return true;
}

static bool find_pin(struct catalogue_session *session, struct arena *arena, const char **pattern,
                     struct error *error)
{
    static const struct statement find = {"image_pin",
                                          "SELECT p.pattern FROM pins p JOIN removal_references v"
                                          "    ON v.reference LIKE glob_to_like(p.pattern)"
                                          " ORDER BY p.pattern LIMIT 1"};
    struct rows rows;
    if (!session_query(session, &find, NULL, 0, arena, &rows, error))
        return false;
    *pattern = rows.count > 0 ? rows_text(&rows, 0, 0) : NULL;
    return true;
}

static bool refuse_if_used(struct catalogue_session *session, const struct image_removal *request,
                           struct error *error)
{
    const char *pin = NULL;
    char text[REFERENCE_TEXT_SIZE];
    reference_format(request->reference, text);
    if (!find_users(session, request->arena, request->users, error) ||
        !find_pin(session, request->arena, &pin, error))
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
static bool break_holds(struct catalogue_session *session, struct error *error)
{
    static const struct statement sandboxes = {"sandboxes_let_go",
                                               "UPDATE sandboxes SET held_digest = NULL"
                                               " WHERE held_digest IN (" LOST ")"};
    static const struct statement snapshots = {"snapshots_let_go",
                                               "UPDATE snapshots SET held_digest = NULL"
                                               " WHERE held_digest IN (" LOST ")"};
    return removal_run(session, &sandboxes, error) && removal_run(session, &snapshots, error);
}

static bool take_references(struct catalogue_session *session, struct error *error)
{
    static const struct statement take = {
        "image_take", "DELETE FROM image_refs r USING removal_references v WHERE" IS_VICTIM};
    return removal_run(session, &take, error);
}

static bool remove_image(struct catalogue_session *session, void *context, struct error *error)
{
    const struct image_removal *request = context;
    return removal_lock(session, error) && find_victims(session, request, error) &&
           lock_manifests(session, error) && removal_expire_holders(session, error) &&
           (request->force ? break_holds(session, error)
                           : refuse_if_used(session, request, error)) &&
           take_references(session, error) &&
           removal_condemn_victims(session, request->arena, &request->removed->condemned, error) &&
           session_read_own_changes(session, request->arena, &request->removed->changes, error);
}

bool catalogue_remove_image(struct catalogue *catalogue, const struct reference *reference,
                            const struct platform *platform, bool force, struct arena *arena,
                            struct removed_image *removed, struct id_list *users,
                            struct error *error)
{
    *users = (struct id_list){0};
    struct image_removal request = {reference, platform, force, arena, removed, users};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    return session && removal_make_tables(session, error) &&
           session_transact(session, remove_image, &request, error);
}
