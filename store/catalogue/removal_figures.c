/* What became of a removal's files, and what it leaves that is no file. */
#include "store/catalogue/removal.h"

#include "store/catalogue/transaction.h"

bool catalogue_removal_progress(struct catalogue *catalogue, int64_t removal_id,
                                struct reaped *reaped, int64_t *waiting, struct error *error)
{
    /* condemned_files is looked through: it is empty but for what is being reaped. */
    static const struct statement sum = {
        "removal_progress",
        "SELECT coalesce(sum(layers), 0), coalesce(sum(fsmeta), 0), coalesce(sum(vmdk), 0),"
        "       coalesce(sum(descriptions), 0), coalesce(sum(bytes), 0),"
        "       (SELECT count(*) FROM condemned_files WHERE removal_id = $1::bigint)"
        "  FROM reaped_files WHERE removal_id = $1::bigint"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &sum, &arena, &rows, error, parameter_int(&arena, removal_id)))
        return false;
    *reaped = (struct reaped){.layer_files = rows_int(&rows, 0, 0),
                              .fsmeta_files = rows_int(&rows, 0, 1),
                              .vmdk_files = rows_int(&rows, 0, 2),
                              .description_files = rows_int(&rows, 0, 3),
                              .bytes = rows_int(&rows, 0, 4)};
    *waiting = rows_int(&rows, 0, 5);
    return true;
}

/* One that a pull begins to use meanwhile fails the statement, which is tried again. */
static bool forget_configs(struct catalogue_session *session, void *context, struct error *error)
{
    static const struct statement forget = {
        "configs_forget",
        "DELETE FROM configs c"
        " WHERE NOT EXISTS (SELECT FROM manifests m WHERE m.config_digest = c.digest)"};
    (void)context;
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    return session_query(session, &forget, NULL, 0, &arena, &rows, error);
}

bool catalogue_forget_configs(struct catalogue *catalogue, struct error *error)
{
    return catalogue_transact(catalogue, forget_configs, NULL, error);
}
