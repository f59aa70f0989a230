#include "server/log_writer.h"

#include "store/metrics.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct log_writer *start(struct log *log, int fd)
{
    struct error error = {0};
    *log = (struct log){.fd = fd, .format = LOG_JSON};
    struct log_writer *writer = log_writer_start(log, &error);
    cr_assert(writer, "%s", error.message);
    return writer;
}

static void give(struct log_writer *writer, enum metric_log kind, const char *text, unsigned count)
{
    cleanup_json_writer struct json_writer lines = {0};
    for (unsigned i = 0; i < count; i++)
        json_append(&lines, text, strlen(text));
    log_writer_take(writer, kind, &lines);
    cr_expect_eq(lines.size_bytes, 0, "the buffer is empty again");
}

static size_t read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    ssize_t got;
    while (used < size && (got = read(fd, text + used, size - used)) > 0)
        used += (size_t)got;
    return used;
}

Test(log_writer, all_lines_are_written_in_their_order_before_it_ends)
{
    int ends[2];
    char text[64] = {0};
    struct log log;
    cr_assert_eq(pipe(ends), 0);
    struct log_writer *writer = start(&log, ends[1]);
    give(writer, LOG_OF_REQUEST, "one\n", 1);
    give(writer, LOG_OF_AUDIT, "two\n", 2);
    log_writer_stop(writer);
    close(ends[1]);
    read_all(ends[0], text, sizeof(text) - 1);
    cr_expect_str_eq(text, "one\ntwo\ntwo\n");
    close(ends[0]);
}

static char came[13 << 20]; /* until the end */
static size_t total;
static void *drain(void *argument)
{
    total = read_all(*(int *)argument, came, sizeof(came) - 1);
    return NULL;
}

/* The lines that came, and those that some of them say were left out: one says so, or two if the
 * thread began so late that some were left out already. */
static void count_lines(size_t *kept, size_t *left_out)
{
    static const char name[] = "\"lines\":";
    char *end;
    for (char *line = came; (end = memchr(line, '\n', (size_t)(came + total - line)));
         line = end + 1) {
        *end = '\0';
        const char *told = line[0] == '{' ? strstr(line, name) : NULL;
        *kept += !told;
        *left_out += told ? strtoul(told + strlen(name), NULL, 10) : 0;
    }
}

Test(log_writer, who_gives_lines_never_waits_for_who_reads_them)
{
    enum { MEGABYTES = 12, LINES_OF_ONE = 1 << 16 }; /* of 16 bytes */
    static const char line[] = "fifteen letters\n";
    int ends[2];
    struct log log;
    pthread_t reader;
    cr_assert_eq(pipe(ends), 0);
    struct log_writer *writer = start(&log, ends[1]);
    for (int i = 0; i < MEGABYTES; i++)
        give(writer, LOG_OF_REQUEST, line, LINES_OF_ONE); /* nobody reads: this must return */
    cr_assert_eq(pthread_create(&reader, NULL, drain, &ends[0]), 0);
    log_writer_stop(writer);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
    cr_expect_lt(total, 11 << 20, "it does not hold everything");
    cr_expect_gt(total, 3 << 20, "but a good deal");
    size_t kept = 0;
    size_t left_out = 0;
    count_lines(&kept, &left_out);
    cr_expect_gt(left_out, 0, "and it says that lines were left out");
    cr_expect_eq(kept + left_out, (size_t)MEGABYTES * LINES_OF_ONE,
                 "%zu lines came and %zu are told to be left out", kept, left_out);
}

Test(log_writer, changes_are_told_when_the_lines_of_requests_have_filled_the_room)
{
    /* More than the thread may be writing, 4 MiB, and as much that waits. */
    enum { MEGABYTES = 12, LINES_OF_ONE = 1 << 16, AUDIT_LINES = 10000 };
    int ends[2];
    struct log log;
    pthread_t reader;
    cr_assert_eq(pipe(ends), 0);
    struct log_writer *writer = start(&log, ends[1]);
    for (int i = 0; i < MEGABYTES; i++)
        give(writer, LOG_OF_REQUEST, "fifteen letters\n", LINES_OF_ONE);
    give(writer, LOG_OF_AUDIT, "who did what\n", AUDIT_LINES);
    cr_expect_gt(metric_read(METRIC_LOG_LINES_LEFT_OUT, (unsigned[2]){LOG_OF_REQUEST}), 0);
    cr_expect_eq(metric_read(METRIC_LOG_LINES_LEFT_OUT, (unsigned[2]){LOG_OF_AUDIT}), 0);
    cr_assert_eq(pthread_create(&reader, NULL, drain, &ends[0]), 0);
    log_writer_stop(writer);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
    size_t audit_lines = 0;
    for (const char *at = came; (at = strstr(at, "who did what\n")); at++)
        audit_lines++;
    cr_expect_eq(audit_lines, AUDIT_LINES, "%zu came", audit_lines);
    cr_expect(strstr(came, "\"of_audit\":0"), "what was left out is told, and that this was not");
}

Test(log_writer, a_log_that_does_not_block_is_waited_for)
{
    enum { MEGABYTES = 3, LINES_OF_ONE = 1 << 16 };
    int ends[2];
    struct log log;
    pthread_t reader;
    cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
    cr_assert_eq(fcntl(ends[0], F_SETFL, 0), 0); /* the reader's end blocks */
    struct log_writer *writer = start(&log, ends[1]);
    for (int i = 0; i < MEGABYTES; i++)
        give(writer, LOG_OF_REQUEST, "fifteen letters\n", LINES_OF_ONE);
    cr_assert_eq(pthread_create(&reader, NULL, drain, &ends[0]), 0);
    log_writer_stop(writer);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
    cr_expect_eq(total, MEGABYTES << 20, "%zu bytes came", total);
}

Test(log_writer, a_reader_who_is_gone_for_good_does_not_keep_the_node_from_its_end, .timeout = 30)
{
    int ends[2];
    struct log log;
    cr_assert_eq(pipe(ends), 0);
    struct log_writer *writer = start(&log, ends[1]);
    give(writer, LOG_OF_REQUEST, "fifteen letters\n", 1 << 16);
    log_writer_stop(writer);
}
