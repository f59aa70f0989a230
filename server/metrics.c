/* GET /metrics: the table of store/metrics_table.h as Prometheus reads it, in its text
 * format 0.0.4 or, where the client prefers that, in OpenMetrics 1.0. They differ in the
 * name of a counter's family, in UNIT (a comment to the former), and in the end. */
#include "store/metrics.h"
#include "server/process_figures.h"
#include "server/resources.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_TEXT_SIZE = 160, BUCKETS_MAX = 32 };

struct page {
    struct json_writer out;
    bool is_open_metrics;
};

__attribute__((format(printf, 2, 3))) static void print(struct page *page, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    json_append(&page->out, line, strnlen(line, length > 0 ? sizeof(line) - 1 : 0));
}

/* Seconds are kept in microseconds. */
static const char *format_value(const struct metric_row *row, int64_t value, char text[32])
{
    lldiv_t seconds = lldiv(value < 0 ? -value : value, 1000000);
    if (row->unit == UNIT_SECONDS)
        snprintf(text, 32, "%s%lld.%06lld", value < 0 ? "-" : "", seconds.quot, seconds.rem);
    else
        snprintf(text, 32, "%" PRId64, value);
    return text;
}

static const char *kind_name(enum metric_kind kind)
{
    static const char *const names[] = {[METRIC_KIND_COUNTER] = "counter",
                                        [METRIC_KIND_GAUGE] = "gauge",
                                        [METRIC_KIND_HISTOGRAM] = "histogram"};
    return names[kind];
}

static const char *unit_name(enum metric_unit unit)
{
    static const char *const names[] = {
        [UNIT_NONE] = "", [UNIT_SECONDS] = "seconds", [UNIT_BYTES] = "bytes"};
    return names[unit];
}

static void print_head(struct page *page, const struct metric_row *row)
{
    int length = (int)strlen(row->name);
    if (page->is_open_metrics && row->kind == METRIC_KIND_COUNTER)
        length -= (int)strlen("_total");
    print(page, "# HELP %.*s %s.\n# TYPE %.*s %s\n", length, row->name, row->help, length,
          row->name, kind_name(row->kind));
    if (row->unit != UNIT_NONE)
        print(page, "# UNIT %.*s %s\n", length, row->name, unit_name(row->unit));
}

static void print_histogram(struct page *page, enum metric metric, const unsigned labels[2],
                            const char *label_text)
{
    const struct metric_row *row = metric_row(metric);
    const char *comma = *label_text ? "," : "";
    int64_t buckets[BUCKETS_MAX];
    int64_t sum = 0;
    int64_t count = 0;
    char number[32];
    metric_read_histogram(metric, labels, buckets, &sum);
    for (size_t i = 0; i < row->bound_count; i++) {
        count += buckets[i];
        print(page, "%s_bucket{%s%sle=\"%s\"} %" PRId64 "\n", row->name, label_text, comma,
              format_value(row, row->bounds[i], number), count);
    }
    count += buckets[row->bound_count];
    const char *open = *label_text ? "{" : "";
    const char *close = *label_text ? "}" : "";
    print(page, "%s_bucket{%s%sle=\"+Inf\"} %" PRId64 "\n", row->name, label_text, comma, count);
    print(page, "%s_sum%s%s%s %s\n", row->name, open, label_text, close,
          format_value(row, sum, number));
    print(page, "%s_count%s%s%s %" PRId64 "\n", row->name, open, label_text, close, count);
}

static void print_value(struct page *page, enum metric metric, const unsigned labels[2],
                        const char *label_text)
{
    const struct metric_row *row = metric_row(metric);
    char number[32];
    print(page, "%s%s%s%s %s\n", row->name, *label_text ? "{" : "", label_text,
          *label_text ? "}" : "", format_value(row, metric_read(metric, labels), number));
}

static void format_label(enum metric_label label, unsigned value, char text[LABEL_TEXT_SIZE])
{
    if (label != LABEL_ROUTE) {
        metric_label_text(label, value, text, LABEL_TEXT_SIZE);
        return;
    }
    const struct route *route = route_of_number(value);
    snprintf(text, LABEL_TEXT_SIZE, "method=\"%s\",route=\"%s\"", route ? route->method : "none",
             route ? route->pattern : "none");
}

/* Routes and problems are many, and most of them never come: those are left out. */
static bool is_worth_printing(enum metric metric, const unsigned labels[2])
{
    const struct metric_row *row = metric_row(metric);
    if (row->labels[0] != LABEL_ROUTE && row->labels[0] != LABEL_PROBLEM)
        return true;
    if (row->kind != METRIC_KIND_HISTOGRAM)
        return metric_read(metric, labels) != 0;
    int64_t buckets[BUCKETS_MAX];
    int64_t sum = 0;
    metric_read_histogram(metric, labels, buckets, &sum);
    int64_t count = 0;
    for (size_t i = 0; i <= row->bound_count; i++)
        count += buckets[i];
    return count > 0;
}

static void print_one(struct page *page, enum metric metric, const unsigned labels[2])
{
    const struct metric_row *row = metric_row(metric);
    char texts[2][LABEL_TEXT_SIZE];
    char both[sizeof(texts) + 1];
    for (size_t i = 0; i < 2; i++)
        format_label(row->labels[i], labels[i], texts[i]);
    snprintf(both, sizeof(both), "%s%s%s", texts[0], *texts[0] && *texts[1] ? "," : "", texts[1]);
    if (row->kind == METRIC_KIND_HISTOGRAM)
        print_histogram(page, metric, labels, both);
    else
        print_value(page, metric, labels, both);
}

static void print_metric(struct page *page, enum metric metric)
{
    const struct metric_row *row = metric_row(metric);
    print_head(page, row);
    for (unsigned first = 0; first < metric_label_size(row->labels[0]); first++)
        for (unsigned second = 0; second < metric_label_size(row->labels[1]); second++) {
            const unsigned labels[2] = {first, second};
            if (is_worth_printing(metric, labels))
                print_one(page, metric, labels);
        }
}

bool metrics_show(struct request *request, struct error *error)
{
    (void)error;
    const char *accept = request->headers.accept;
    struct page page = {.is_open_metrics =
                            accept && strstr(accept, "application/openmetrics-text") != NULL};
    process_figures_set();
    metric_set(METRIC_BUILD_INFO, 1);
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        print_metric(&page, (enum metric)metric);
    if (page.is_open_metrics)
        print(&page, "# EOF\n");
    request_answer_text(request, 200,
                        page.is_open_metrics
                            ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                            : "text/plain; version=0.0.4; charset=utf-8",
                        &page.out);
    return true;
}
