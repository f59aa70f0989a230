/* Loads: pulls whose layers come out of an archive that was sent to a node. */
#include "store/catalogue/pull_rows.h"

bool catalogue_begin_load(struct catalogue *catalogue, const char *node_id,
                          const struct reference *reference, const struct platform *platform,
                          struct arena *arena, struct pull *pull, struct error *error)
{
    static const struct statement begin = {
        "load_begin",
        "WITH begun AS ("
        "    INSERT INTO pulls (reference, platform, policy, force, state, node_id, attempts,"
        "        started_at)"
        "    VALUES ($1, $2, 'load', false, 'resolving', $3::uuid, 1, now())"
        "    RETURNING *)"
        " SELECT " PULL_COLUMNS "  FROM begun p LEFT JOIN pull_layers l ON l.pull_id = p.id"};
    char reference_text[REFERENCE_TEXT_SIZE];
    char platform_text[PLATFORM_TEXT_SIZE];
    reference_format(reference, reference_text);
    platform_format(platform, platform_text);

    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    struct pull *pulls = NULL;
    if (!session ||
        !QUERY(session, &begin, arena, &rows, error, reference_text, platform_text, node_id))
        return false;
    (void)pull_rows_read(&rows, arena, &pulls);
    *pull = pulls[0];
    return true;
}
