#include "store/catalogue/inventory.h"

#include "store/blobdir.h"
#include "store/catalogue/pulls.h"
#include "store/metrics.h"

#include <assert.h>

/* The gauge that a column of the answer goes to. */
struct gauge {
    enum metric metric;
    unsigned label;
};

/* One row whose columns are the gauges, in their order. */
static bool set_gauges(struct catalogue_session *session, const struct statement *statement,
                       const struct gauge *gauges, size_t count, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!session_query(session, statement, NULL, 0, &arena, &rows, error))
        return false;
    assert(rows.count == 1 && rows.column_count == count);
    for (size_t i = 0; i < count; i++)
        metric_set(gauges[i].metric, rows_int(&rows, 0, i), gauges[i].label);
    return true;
}
#define SET_GAUGES(session, statement, gauges, error)                                              \
    set_gauges((session), (statement), (gauges), sizeof(gauges) / sizeof((gauges)[0]), (error))

/* A layer that stands twice in one manifest counts as shared with itself: those are the
 * empty ones. */
static bool count_files(struct catalogue_session *session, struct error *error)
{
    static const struct statement count = {
        "inventory_files",
        "SELECT refs.count, l.count, m.count, m.count, refs.names, l.bytes, m.fsmeta, m.vmdk,"
        "       shared.bytes"
        "  FROM (SELECT count(*), count(DISTINCT reference) AS names FROM image_refs) refs,"
        "       (SELECT count(*), coalesce(sum(erofs_size_bytes), 0) AS bytes FROM layers) l,"
        "       (SELECT count(*), coalesce(sum(fsmeta_size_bytes), 0) AS fsmeta,"
        "               coalesce(sum(vmdk_size_bytes), 0) AS vmdk FROM manifests) m,"
        "       (SELECT coalesce(sum((uses - 1) * erofs_size_bytes), 0) AS bytes"
        "          FROM (SELECT diff_id, count(*) AS uses FROM manifest_layers"
        "                 GROUP BY diff_id HAVING count(*) > 1) used"
        "          JOIN layers USING (diff_id)) shared"};
    static const struct gauge gauges[] = {
        {METRIC_IMAGES, 0},
        {METRIC_FILES, BLOB_LAYER},
        {METRIC_FILES, BLOB_FSMETA},
        {METRIC_FILES, BLOB_VMDK},
        {METRIC_FILES, BLOB_MANIFEST},
        {METRIC_FILE_BYTES, BLOB_LAYER},
        {METRIC_FILE_BYTES, BLOB_FSMETA},
        {METRIC_FILE_BYTES, BLOB_VMDK},
        {METRIC_SHARED_SAVED_BYTES, 0},
    };
    return SET_GAUGES(session, &count, gauges, error);
}

static bool count_condemned(struct catalogue_session *session, struct error *error)
{
    static const struct statement count = {
        "inventory_condemned",
        "SELECT count(*), coalesce(sum(size_bytes), 0),"
        "       (coalesce(extract(epoch FROM now() - min(condemned_at)), 0) * 1000000)::bigint"
        "  FROM condemned_files"};
    static const struct gauge gauges[] = {
        {METRIC_CONDEMNED_FILES, 0},
        {METRIC_CONDEMNED_BYTES, 0},
        {METRIC_CONDEMNED_OLDEST_SECONDS, 0},
    };
    return SET_GAUGES(session, &count, gauges, error);
}

static bool count_holders(struct catalogue_session *session, struct error *error)
{
    static const struct statement count = {
        "inventory_holders",
        "SELECT count(*) FILTER (WHERE live AND type = 'oci'),"
        "       count(*) FILTER (WHERE live AND type = 'bind'),"
        "       count(*) FILTER (WHERE live AND type = 'disk'),"
        "       count(*) FILTER (WHERE live AND expires_at IS NOT NULL),"
        "       count(*) FILTER (WHERE NOT live),"
        "       (SELECT count(*) FROM snapshots), (SELECT count(*) FROM pins)"
        "  FROM (SELECT rootfs ->> 'type' AS type, expires_at,"
        "               expires_at IS NULL OR expires_at > now() AS live FROM sandboxes) s"};
    static const struct gauge gauges[] = {
        {METRIC_SANDBOXES, ROOTFS_LABEL_OCI},
        {METRIC_SANDBOXES, ROOTFS_LABEL_BIND},
        {METRIC_SANDBOXES, ROOTFS_LABEL_DISK},
        {METRIC_SANDBOX_LEASES, 0},
        {METRIC_SANDBOX_LEASES_EXPIRED, 0},
        {METRIC_SNAPSHOTS, 0},
        {METRIC_PINS, 0},
    };
    return SET_GAUGES(session, &count, gauges, error);
}

/* The index of unfinished pulls has just those. Nodes: as nodes.c takes them for dead. */
static bool count_pulls(struct catalogue_session *session, struct error *error)
{
    static const struct statement count = {
        "inventory_pulls",
        "SELECT count(*) FILTER (WHERE state = 'queued'),"
        "       count(*) FILTER (WHERE state = 'resolving'),"
        "       count(*) FILTER (WHERE state = 'fetching'),"
        "       count(*) FILTER (WHERE state = 'composing'),"
        "       (SELECT count(*) FROM nodes WHERE heartbeat_at > now() - interval '10 seconds')"
        "  FROM pulls WHERE finished_at IS NULL"};
    static const struct gauge gauges[] = {
        {METRIC_PULLS, PULL_QUEUED},
        {METRIC_PULLS, PULL_RESOLVING},
        {METRIC_PULLS, PULL_FETCHING},
        {METRIC_PULLS, PULL_COMPOSING},
        {METRIC_NODES, 0},
    };
    return SET_GAUGES(session, &count, gauges, error);
}

bool catalogue_take_inventory(struct catalogue *catalogue, struct error *error)
{
    int64_t begun_us = metric_now_us();
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session || !count_files(session, error) || !count_condemned(session, error) ||
        !count_holders(session, error) || !count_pulls(session, error))
        return false;
    metric_set(METRIC_INVENTORY_SECONDS, metric_now_us() - begun_us);
    metric_set(METRIC_INVENTORY_TIME, metric_wall_us());
    return true;
}
