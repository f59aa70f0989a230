#include "store/metrics.h"

#include "store/blobdir.h"
#include "store/catalogue/pulls.h"
#include "store/error.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { SHARD_COUNT = 8 }; /* more threads than that bump at once only on bigger machines */

/* Upper bounds in microseconds. FAST: a read from memory takes 10 us, one behind a
 * busy PostgreSQL seconds. SLOW: a cached image takes 5 ms, a large one minutes. */
static const int64_t fast_bounds[] = {100,   250,   500,    1000,   2500,    5000,    10000,
                                      25000, 50000, 100000, 250000, 1000000, 2500000, 10000000};
static const int64_t slow_bounds[] = {10000,    50000,     100000,    250000,    500000,
                                      1000000,  2500000,   5000000,   10000000,  30000000,
                                      60000000, 120000000, 300000000, 1800000000};
#define BOUND_COUNT(bounds) (sizeof(bounds) / sizeof((bounds)[0]))

static const unsigned statuses[] = {200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409,
                                    412, 413, 415, 416, 422, 429, 431, 500, 502, 503, 507};
enum { STATUS_COUNT = BOUND_COUNT(statuses) };

/* Where the cells of each metric are: a row of them for each combination of labels. A
 * histogram's are its buckets, the one for all that is larger, and the sum. */
enum {
    SIZE_NONE = 1,
    SIZE_ROUTE = METRIC_ROUTES_MAX,
    SIZE_STATUS = STATUS_COUNT + 1, /* the last one: any other */
    SIZE_PROBLEM = ERROR_CODE_COUNT,
    SIZE_AUTH = AUTH_COUNT,
    SIZE_FILE_KIND = BLOB_MANIFEST + 1,
    SIZE_SIZED_KIND = BLOB_VMDK + 1,
    SIZE_PULL_STATE = PULL_COMPOSING + 1,
    SIZE_PULL_END = ENDED_COUNT,
    SIZE_PULL_STAGE = STAGE_COUNT,
    SIZE_LAYER_RESULT = LAYER_RESULT_COUNT,
    SIZE_REGISTRY_OUTCOME = REGISTRY_OUTCOME_COUNT,
    SIZE_ROOTFS = ROOTFS_LABEL_COUNT,
    SIZE_READ = READ_COUNT,
    SIZE_EVICTION = EVICTION_COUNT,
    SIZE_LOG = LOG_COUNT,
    SIZE_VERSION = 1,

    CELLS_NONE = 1,
    CELLS_FAST = BOUND_COUNT(fast_bounds) + 2,
    CELLS_SLOW = BOUND_COUNT(slow_bounds) + 2,
};
/* Each begins behind the last cell of the one before. NOLINTNEXTLINE(cert-int09-c) */
enum {
#define METRIC(id, kind, name, unit, first, second, buckets, help)                                 \
    CELL_##id, CELL_AFTER_##id = CELL_##id + SIZE_##first * SIZE_##second * CELLS_##buckets - 1,
#include "store/metrics_table.h"
#undef METRIC
    CELL_COUNT
};

static struct shard {
    _Alignas(64) _Atomic int64_t cells[CELL_COUNT];
} shards[SHARD_COUNT];

#define BOUNDS_NONE      NULL
#define BOUNDS_FAST      fast_bounds
#define BOUNDS_SLOW      slow_bounds
#define BOUND_COUNT_NONE 0
#define BOUND_COUNT_FAST BOUND_COUNT(fast_bounds)
#define BOUND_COUNT_SLOW BOUND_COUNT(slow_bounds)

static const struct metric_row rows[METRIC_COUNT] = {
#define METRIC(id, kind, name, unit, first, second, buckets, help)                                 \
    {name,                                                                                         \
     help,                                                                                         \
     METRIC_KIND_##kind,                                                                           \
     UNIT_##unit,                                                                                  \
     {LABEL_##first, LABEL_##second},                                                              \
     BOUNDS_##buckets,                                                                             \
     BOUND_COUNT_##buckets},
#include "store/metrics_table.h"
#undef METRIC
};

static const size_t first_cells[METRIC_COUNT] = {
#define METRIC(id, ...) CELL_##id,
#include "store/metrics_table.h"
#undef METRIC
};

const struct metric_row *metric_row(enum metric metric)
{
    return &rows[metric];
}

size_t metric_label_size(enum metric_label label)
{
    static const size_t sizes[LABEL_COUNT] = {
        [LABEL_NONE] = SIZE_NONE,
        [LABEL_ROUTE] = SIZE_ROUTE,
        [LABEL_STATUS] = SIZE_STATUS,
        [LABEL_PROBLEM] = SIZE_PROBLEM,
        [LABEL_AUTH] = SIZE_AUTH,
        [LABEL_FILE_KIND] = SIZE_FILE_KIND,
        [LABEL_SIZED_KIND] = SIZE_SIZED_KIND,
        [LABEL_PULL_STATE] = SIZE_PULL_STATE,
        [LABEL_PULL_END] = SIZE_PULL_END,
        [LABEL_PULL_STAGE] = SIZE_PULL_STAGE,
        [LABEL_LAYER_RESULT] = SIZE_LAYER_RESULT,
        [LABEL_REGISTRY_OUTCOME] = SIZE_REGISTRY_OUTCOME,
        [LABEL_ROOTFS] = SIZE_ROOTFS,
        [LABEL_READ] = SIZE_READ,
        [LABEL_EVICTION] = SIZE_EVICTION,
        [LABEL_LOG] = SIZE_LOG,
        [LABEL_VERSION] = SIZE_VERSION,
    };
    return sizes[label];
}

static size_t cells_of(const struct metric_row *row)
{
    return row->bounds ? row->bound_count + 2 : 1;
}

static size_t cell_of(enum metric metric, const unsigned labels[2])
{
    const struct metric_row *row = &rows[metric];
    assert(labels[0] < metric_label_size(row->labels[0]));
    assert(labels[1] < metric_label_size(row->labels[1]));
    size_t combination = labels[0] * metric_label_size(row->labels[1]) + labels[1];
    return first_cells[metric] + combination * cells_of(row);
}

/* Threads take turns at their birth, so that few share one. */
static struct shard *own_shard(void)
{
    static atomic_uint next;
    static _Thread_local struct shard *own;
    if (!own)
        own = &shards[atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % SHARD_COUNT];
    return own;
}

static void add(size_t cell, int64_t n)
{
    atomic_fetch_add_explicit(&own_shard()->cells[cell], n, memory_order_relaxed);
}

static int64_t read_cell(size_t cell)
{
    int64_t value = 0;
    for (size_t i = 0; i < SHARD_COUNT; i++)
        value += atomic_load_explicit(&shards[i].cells[cell], memory_order_relaxed);
    return value;
}

void metric_add_labelled(enum metric metric, int64_t n, const unsigned labels[2])
{
    assert(rows[metric].kind != METRIC_KIND_HISTOGRAM);
    add(cell_of(metric, labels), n);
}

void metric_set_labelled(enum metric metric, int64_t value, const unsigned labels[2])
{
    assert(rows[metric].kind != METRIC_KIND_HISTOGRAM);
    atomic_store_explicit(&shards[0].cells[cell_of(metric, labels)], value, memory_order_relaxed);
}

void metric_observe_labelled(enum metric metric, int64_t value, const unsigned labels[2])
{
    const struct metric_row *row = &rows[metric];
    assert(row->kind == METRIC_KIND_HISTOGRAM);
    size_t cell = cell_of(metric, labels);
    size_t bucket = 0;
    while (bucket < row->bound_count && value > row->bounds[bucket])
        bucket++;
    add(cell + bucket, 1);
    add(cell + row->bound_count + 1, value);
}

int64_t metric_read(enum metric metric, const unsigned labels[2])
{
    return read_cell(cell_of(metric, labels));
}

void metric_read_histogram(enum metric metric, const unsigned labels[2], int64_t *buckets,
                           int64_t *sum)
{
    size_t cell = cell_of(metric, labels);
    size_t bucket_count = rows[metric].bound_count + 1;
    for (size_t i = 0; i < bucket_count; i++)
        buckets[i] = read_cell(cell + i);
    *sum = read_cell(cell + bucket_count);
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t metric_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t metric_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

unsigned metric_status(unsigned http_status)
{
    unsigned index = 0;
    while (index < STATUS_COUNT && statuses[index] != http_status)
        index++;
    return index;
}

static const char *outcome_name(unsigned outcome)
{
    static const char *const names[REGISTRY_OUTCOME_COUNT] = {
        [REGISTRY_OK] = "ok",
        [REGISTRY_NOT_FOUND] = "not_found",
        [REGISTRY_UNAUTHORIZED] = "unauthorized",
        [REGISTRY_RATE_LIMITED] = "rate_limited",
        [REGISTRY_REFUSED] = "refused",
        [REGISTRY_FAILED] = "failed",
        [REGISTRY_NO_ANSWER] = "no_answer",
        [REGISTRY_GIVEN_UP] = "given_up",
    };
    return names[outcome];
}

static void format_status(unsigned index, char *text, size_t size)
{
    if (index < STATUS_COUNT)
        snprintf(text, size, "code=\"%u\"", statuses[index]);
    else
        snprintf(text, size, "code=\"other\"");
}

void metric_label_text(enum metric_label label, unsigned value, char *text, size_t size)
{
    static const char *const refusals[AUTH_COUNT] = {"missing", "wrong", "slowed", "forbidden"};
    static const char *const stages[STAGE_COUNT] = {"resolve", "fetch", "compose", "all"};
    static const char *const ends[ENDED_COUNT] = {"done", "failed", "cancelled", "given_back"};
    static const char *const results[LAYER_RESULT_COUNT] = {"built", "reused"};
    static const char *const rootfs[ROOTFS_LABEL_COUNT] = {"oci", "bind", "disk"};
    static const char *const reads[READ_COUNT] = {"hit",  "fenced",   "stale",
                                                  "miss", "unstored", "collapsed"};
    static const char *const evictions[EVICTION_COUNT] = {"change", "room"};
    static const char *const log_lines[LOG_COUNT] = {"request", "event", "audit"};
    switch (label) {
    case LABEL_STATUS:
        format_status(value, text, size);
        return;
    case LABEL_PROBLEM:
        snprintf(text, size, "problem=\"%s\"", error_code_name((enum error_code)value));
        return;
    case LABEL_AUTH:
        snprintf(text, size, "why=\"%s\"", refusals[value]);
        return;
    case LABEL_FILE_KIND:
    case LABEL_SIZED_KIND:
        snprintf(text, size, "kind=\"%s\"", blob_kind_name((enum blob_kind)value));
        return;
    case LABEL_PULL_STATE:
        snprintf(text, size, "state=\"%s\"", pull_state_name((enum pull_state)value));
        return;
    case LABEL_PULL_END:
        snprintf(text, size, "end=\"%s\"", ends[value]);
        return;
    case LABEL_PULL_STAGE:
        snprintf(text, size, "stage=\"%s\"", stages[value]);
        return;
    case LABEL_LAYER_RESULT:
        snprintf(text, size, "result=\"%s\"", results[value]);
        return;
    case LABEL_REGISTRY_OUTCOME:
        snprintf(text, size, "outcome=\"%s\"", outcome_name(value));
        return;
    case LABEL_ROOTFS:
        snprintf(text, size, "type=\"%s\"", rootfs[value]);
        return;
    case LABEL_READ:
        snprintf(text, size, "from=\"%s\"", reads[value]);
        return;
    case LABEL_EVICTION:
        snprintf(text, size, "reason=\"%s\"", evictions[value]);
        return;
    case LABEL_LOG:
        snprintf(text, size, "kind=\"%s\"", log_lines[value]);
        return;
    case LABEL_VERSION:
        snprintf(text, size, "version=\"%s\"", LARDER_VERSION);
        return;
    case LABEL_NONE:
    case LABEL_ROUTE:
    case LABEL_COUNT:
        text[0] = '\0';
        return;
    }
}
