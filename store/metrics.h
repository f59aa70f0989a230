/* What a node counts about itself, for GET /metrics.
 *
 *     metric_add(METRIC_REGISTRY_RETRIES, 1);
 *     metric_add(METRIC_REAPED_FILES, 1, BLOB_LAYER);
 *     metric_observe(METRIC_PULL_STAGE_SECONDS, metric_now_us() - begun_us, STAGE_COMPOSE);
 *
 * All metrics are rows of metrics_table.h: a new one is a line there and a bump where
 * it happens. Bumping is a relaxed atomic addition in one of a few shards: from any
 * thread, at any time, without a lock and without an initialisation. Values of one
 * moment are not taken at one moment: two metrics may disagree by what happened while
 * they were read. They live as long as the process.
 */
#ifndef LARDER_STORE_METRICS_H
#define LARDER_STORE_METRICS_H

#include <stddef.h>
#include <stdint.h>

enum metric {
#define METRIC(id, ...) METRIC_##id,
#include "store/metrics_table.h"
#undef METRIC
    METRIC_COUNT
};

/* The dimensions, and what their values are. */
enum metric_label {
    LABEL_NONE,
    LABEL_ROUTE,            /* a number of server/routes.h: its method and template */
    LABEL_STATUS,           /* metric_status() of an HTTP status */
    LABEL_PROBLEM,          /* enum error_code */
    LABEL_AUTH,             /* enum metric_auth */
    LABEL_FILE_KIND,        /* enum blob_kind */
    LABEL_SIZED_KIND,       /* those of enum blob_kind whose sizes the catalogue knows */
    LABEL_PULL_STATE,       /* those of enum pull_state before the end */
    LABEL_PULL_END,         /* enum metric_pull_end */
    LABEL_PULL_STAGE,       /* enum metric_stage */
    LABEL_LAYER_RESULT,     /* enum metric_layer_result */
    LABEL_REGISTRY_OUTCOME, /* enum metric_registry_outcome */
    LABEL_ROOTFS,           /* enum metric_rootfs */
    LABEL_READ,             /* enum metric_read */
    LABEL_EVICTION,         /* enum metric_eviction */
    LABEL_LOG,              /* enum metric_log */
    LABEL_VERSION,          /* 0: this binary's */
    LABEL_COUNT
};

enum metric_auth {
    AUTH_MISSING,   /* nothing said who it was */
    AUTH_WRONG,     /* a token that is none */
    AUTH_SLOWED,    /* the same, after many of them */
    AUTH_FORBIDDEN, /* whatever was answered with 403 */
    AUTH_COUNT
};
enum metric_stage { STAGE_RESOLVE, STAGE_FETCH, STAGE_COMPOSE, STAGE_ALL, STAGE_COUNT };
enum metric_pull_end { ENDED_DONE, ENDED_FAILED, ENDED_CANCELLED, ENDED_GIVEN_BACK, ENDED_COUNT };
enum metric_layer_result { LAYER_RESULT_BUILT, LAYER_RESULT_REUSED, LAYER_RESULT_COUNT };
enum metric_rootfs { ROOTFS_LABEL_OCI, ROOTFS_LABEL_BIND, ROOTFS_LABEL_DISK, ROOTFS_LABEL_COUNT };
enum metric_registry_outcome {
    REGISTRY_OK,
    REGISTRY_NOT_FOUND,
    REGISTRY_UNAUTHORIZED,
    REGISTRY_RATE_LIMITED,
    REGISTRY_REFUSED,   /* another 4xx */
    REGISTRY_FAILED,    /* 5xx */
    REGISTRY_NO_ANSWER, /* it could not be reached, or the connection broke */
    REGISTRY_GIVEN_UP,  /* by us: cancelled, or the content is not wanted */
    REGISTRY_OUTCOME_COUNT
};

enum metric_read {
    READ_HIT,       /* from memory */
    READ_FENCED,    /* from memory, after PostgreSQL said what changed */
    READ_STALE,     /* from memory, while PostgreSQL is away */
    READ_MISS,      /* from PostgreSQL, and stored */
    READ_UNSTORED,  /* from PostgreSQL; it changed meanwhile */
    READ_COLLAPSED, /* with the answer that another request asked for */
    READ_COUNT
};
enum metric_eviction { EVICTED_BY_CHANGE, EVICTED_FOR_ROOM, EVICTION_COUNT };
/* What a line of the log is about. */
enum metric_log { LOG_OF_REQUEST, LOG_OF_EVENT, LOG_OF_AUDIT, LOG_COUNT };

enum { METRIC_ROUTES_MAX = 64 }; /* numbers of routes, with the one for "none" */

/* Bumps; the labels' values follow, in the order of the row. A gauge is either added
 * to or set, never both. A value out of range is our bug: it asserts. */
#define metric_add(metric, n, ...)                                                                 \
    metric_add_labelled((metric), (n), (const unsigned[2]){__VA_ARGS__})
#define metric_set(metric, value, ...)                                                             \
    metric_set_labelled((metric), (value), (const unsigned[2]){__VA_ARGS__})
#define metric_observe(metric, value, ...)                                                         \
    metric_observe_labelled((metric), (value), (const unsigned[2]){__VA_ARGS__})

void metric_add_labelled(enum metric metric, int64_t n, const unsigned labels[2]);
void metric_set_labelled(enum metric metric, int64_t value, const unsigned labels[2]);
void metric_observe_labelled(enum metric metric, int64_t value, const unsigned labels[2]);

/* Monotonic, for durations. */
[[nodiscard]] int64_t metric_now_us(void);
/* Since the epoch, for gauges that say when. */
[[nodiscard]] int64_t metric_wall_us(void);
[[nodiscard]] unsigned metric_status(unsigned http_status);

/* --- reading, for whoever prints them --- */

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_HISTOGRAM };
enum metric_unit { UNIT_NONE, UNIT_SECONDS, UNIT_BYTES };

struct metric_row {
    const char *name;
    const char *help;
    enum metric_kind kind;
    enum metric_unit unit;
    enum metric_label labels[2];
    const int64_t *bounds; /* of a histogram: upper bounds, as it is observed; else NULL */
    size_t bound_count;
};
[[nodiscard]] const struct metric_row *metric_row(enum metric metric);

/* How many values the dimension has: 1 for LABEL_NONE. */
[[nodiscard]] size_t metric_label_size(enum metric_label label);
/* `code="200"`, with its terminating NUL in at most `size`; "" for LABEL_NONE. Not for
 * LABEL_ROUTE, whose names only the server knows. */
void metric_label_text(enum metric_label label, unsigned value, char *text, size_t size);

/* The value of a counter or gauge. */
[[nodiscard]] int64_t metric_read(enum metric metric, const unsigned labels[2]);
/* Fills the observations of each bucket, one more than there are bounds (not
 * cumulative), and their sum. */
void metric_read_histogram(enum metric metric, const unsigned labels[2], int64_t *buckets,
                           int64_t *sum);

#endif
