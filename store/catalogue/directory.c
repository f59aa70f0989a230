#include "store/catalogue/directory.h"

bool catalogue_identify(struct catalogue *catalogue, struct arena *arena,
                        struct catalogue_identity *identity, struct error *error)
{
    static const struct statement identify = {
        "catalogue_identify", "SELECT id, directory_id, gen_random_uuid() FROM catalogue"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !session_query(session, &identify, NULL, 0, arena, &rows, error))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_INTERNAL, "the catalogue has lost its id");
    *identity = (struct catalogue_identity){.id = rows_text(&rows, 0, 0),
                                            .directory_id = rows_text(&rows, 0, 1),
                                            .new_id = rows_text(&rows, 0, 2)};
    return true;
}

bool catalogue_bind_directory(struct catalogue *catalogue, const char *wanted_id, bool force,
                              struct arena *arena, const char **directory_id, struct error *error)
{
    static const struct statement bind = {
        "catalogue_bind_directory",
        "UPDATE catalogue"
        "   SET directory_id = CASE WHEN $2::boolean OR directory_id IS NULL THEN $1::uuid"
        "                      ELSE directory_id END"
        " RETURNING directory_id"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &bind, arena, &rows, error, wanted_id, parameter_bool(force)))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_INTERNAL, "the catalogue has lost its id");
    *directory_id = rows_text(&rows, 0, 0);
    return true;
}
