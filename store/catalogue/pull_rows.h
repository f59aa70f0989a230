/* Pulls as rows: the columns that every answer about a pull selects, and reading
 * them. Only for the files of this folder that select pulls.
 */
#ifndef LARDER_STORE_CATALOGUE_PULL_ROWS_H
#define LARDER_STORE_CATALOGUE_PULL_ROWS_H

#include "store/catalogue/pulls.h"

/* Heartbeats come every second; a node that missed this many is taken for dead, so that its
 * pulls go on elsewhere within 15 s. */
#define NODE_DEAD_AFTER "interval '10 seconds'"

/* Of `pulls AS p LEFT JOIN pull_layers AS l`, ordered so that the rows of one pull
 * stand together, layers bottom to top. */
#define PULL_COLUMNS                                                                               \
    "p.id, p.reference, p.platform, p.policy, p.force, p.state, p.node_id, p.manifest_digest, "    \
    "(extract(epoch FROM p.created_at) * 1000)::bigint, "                                          \
    "coalesce((extract(epoch FROM p.started_at) * 1000)::bigint, 0), "                             \
    "coalesce((extract(epoch FROM p.finished_at) * 1000)::bigint, 0), p.attempts, p.error, "       \
    "p.cancel_requested, "                                                                         \
    "l.position, l.diff_id, l.blob_digest, l.media_type, l.state, l.total_bytes, "                 \
    "l.received_bytes, l.tar_bytes"

/* All pulls of the rows, each with its layers. Returns how many. */
size_t pull_rows_read(const struct rows *rows, struct arena *arena, struct pull **pulls);

/* The text of created_at, which a list selects behind PULL_COLUMNS, of that pull. */
[[nodiscard]] const char *pull_rows_created_at(const struct rows *rows, const char *id);

/* {"code", "detail", …}: an error as the column `error` keeps it. */
[[nodiscard]] const char *pull_error_format(const struct error *why, struct arena *arena);

#endif
