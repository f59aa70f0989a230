#include "store/metrics.h"

#include "store/blobdir.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

enum { THREADS = 24, BUMPS = 5000 };

static void *bump(void *unused)
{
    (void)unused;
    for (int i = 0; i < BUMPS; i++) {
        metric_add(METRIC_REAPED_FILES, 1, BLOB_VMDK);
        metric_observe(METRIC_CATALOGUE_ACQUIRE_SECONDS, i);
    }
    return NULL;
}

Test(metrics, nothing_is_lost_when_many_threads_bump_one)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, bump, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(metric_read(METRIC_REAPED_FILES, (unsigned[2]){BLOB_VMDK}), THREADS * BUMPS,
                 "every bump of every thread counts");
    cr_expect_eq(metric_read(METRIC_REAPED_FILES, (unsigned[2]){BLOB_LAYER}), 0,
                 "another label's value stays as it was");
}

Test(metrics, an_observation_is_in_the_first_bucket_that_holds_it)
{
    static const struct {
        int64_t value;
        size_t bucket;
    } cases[] = {{0, 0}, {100, 0}, {101, 1}, {10000000, 13}, {10000001, 14}, {INT32_MAX, 14}};
    const struct metric_row *row = metric_row(METRIC_CATALOGUE_ROUND_TRIP_SECONDS);
    int64_t expected_sum = 0;
    int64_t expected[32] = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        metric_observe(METRIC_CATALOGUE_ROUND_TRIP_SECONDS, cases[i].value);
        expected[cases[i].bucket]++;
        expected_sum += cases[i].value;
    }
    int64_t buckets[32] = {0};
    int64_t sum = 0;
    metric_read_histogram(METRIC_CATALOGUE_ROUND_TRIP_SECONDS, (unsigned[2]){0}, buckets, &sum);
    for (size_t i = 0; i <= row->bound_count; i++)
        cr_expect_eq(buckets[i], expected[i], "bucket %zu holds %d, not %d", i, (int)expected[i],
                     (int)buckets[i]);
    cr_expect_eq(sum, expected_sum, "the sum is that of all observations");
}

/* The cells of two metrics never overlap: each combination bumped once reads 1. */
Test(metrics, every_value_has_a_cell_of_its_own)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = metric_row((enum metric)i);
        for (unsigned first = 0; first < metric_label_size(row->labels[0]); first++)
            for (unsigned second = 0; second < metric_label_size(row->labels[1]); second++)
                if (row->bounds)
                    metric_observe((enum metric)i, 1, first, second);
                else
                    metric_add((enum metric)i, 1, first, second);
    }
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = metric_row((enum metric)i);
        int64_t buckets[32] = {0};
        int64_t sum = 0;
        for (unsigned first = 0; first < metric_label_size(row->labels[0]); first++)
            for (unsigned second = 0; second < metric_label_size(row->labels[1]); second++) {
                const unsigned labels[2] = {first, second};
                if (row->bounds)
                    metric_read_histogram((enum metric)i, labels, buckets, &sum);
                else
                    buckets[0] = sum = metric_read((enum metric)i, labels);
                cr_assert(buckets[0] == 1 && sum == 1, "%s %u %u was bumped by another", row->name,
                          first, second);
            }
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

Test(metrics, names_say_their_kind_and_unit)
{
    static const char *const units[] = {
        [UNIT_NONE] = "", [UNIT_SECONDS] = "_seconds", [UNIT_BYTES] = "_bytes"};
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = metric_row((enum metric)i);
        bool is_counter = row->kind == METRIC_KIND_COUNTER;
        char base[128];
        snprintf(base, sizeof(base), "%s", row->name);
        cr_expect_eq(ends_with(base, "_total"), is_counter, "%s: counters end in _total",
                     row->name);
        if (is_counter)
            base[strlen(base) - strlen("_total")] = '\0';
        cr_expect(ends_with(base, units[row->unit]), "%s ends in its unit%s", row->name,
                  units[row->unit]);
        cr_expect_eq(row->kind == METRIC_KIND_HISTOGRAM, row->bounds != NULL,
                     "%s: a histogram, and nothing else, has buckets", row->name);
        cr_expect_lt(row->bound_count, 30, "%s has few buckets", row->name);
        for (size_t bound = 1; row->bounds && bound < row->bound_count; bound++)
            cr_expect_gt(row->bounds[bound], row->bounds[bound - 1], "%s: bounds grow", row->name);
        cr_expect_neq(row->help[strlen(row->help) - 1], '.', "%s: no full stop", row->name);
        for (int other = 0; other < i; other++)
            cr_expect_str_neq(metric_row((enum metric)other)->name, row->name, "names are unique");
    }
}

Test(metrics, every_label_value_has_a_name_of_its_own)
{
    for (int label = LABEL_ROUTE + 1; label < LABEL_COUNT; label++)
        for (unsigned value = 0; value < metric_label_size((enum metric_label)label); value++) {
            char text[128];
            char before[128] = "";
            metric_label_text((enum metric_label)label, value, text, sizeof(text));
            if (value > 0)
                metric_label_text((enum metric_label)label, value - 1, before, sizeof(before));
            cr_expect(strstr(text, "=\"") && text[strlen(text) - 1] == '"', "%s is name=\"value\"",
                      text);
            cr_expect_null(strstr(text, "=\"\""), "label %d has a name for %u", label, value);
            cr_expect_str_neq(text, before, "and not that of another");
        }
}
