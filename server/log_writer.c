#include "server/log_writer.h"

#include "server/clock.h"
#include "store/metrics.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

enum {
    STOP_MAX_MS = 5 * 1000,
    KEPT_BYTES = 1 << 20, /* of a buffer that is empty again */
};

/* A line waits while no more than this is there with it. Requests come by themselves in any
 * number; they leave room for events, and both for some ten thousand changes. */
static const size_t pending_max_bytes[LOG_COUNT] = {
    [LOG_OF_REQUEST] = 4 << 20,
    [LOG_OF_EVENT] = 6 << 20,
    [LOG_OF_AUDIT] = 16 << 20,
};

struct left_out {
    int64_t lines[LOG_COUNT];
};

struct log_writer {
    struct log log; /* without a writer */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows; not held while writing */
    pthread_cond_t changed;
    struct json_writer pending;
    struct left_out left_out; /* since the last line that said so */
    bool stopping;
    bool ended; /* all is written */
};

static int64_t count_lines(const struct json_writer *lines)
{
    int64_t count = 0;
    const char *end = lines->bytes + lines->size_bytes;
    for (const char *at = lines->bytes; at && at < end; count++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : end;
    }
    return count;
}

/* A log that nobody takes any more must not stop the node. stderr may be shared with a process that
 * made it non-blocking: the thread waits for the reader all the same. */
static void write_all(int fd, const char *bytes, size_t size)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EAGAIN) {
            (void)poll(&room, 1, -1);
            continue;
        }
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        bytes += written;
        size -= (size_t)written;
    }
}

/* Waits for lines and takes them over; false when it is the end and there are none. */
static bool next_lines(struct log_writer *writer, struct json_writer *lines,
                       struct left_out *left_out)
{
    pthread_mutex_lock(&writer->lock);
    while (writer->pending.size_bytes == 0 && !writer->stopping)
        pthread_cond_wait(&writer->changed, &writer->lock);
    struct json_writer taken = writer->pending;
    writer->pending = *lines;
    *lines = taken;
    *left_out = writer->left_out;
    writer->left_out = (struct left_out){0};
    pthread_mutex_unlock(&writer->lock);
    return taken.size_bytes > 0;
}

static void tell_left_out(const struct log *log, const struct left_out *left_out)
{
    int64_t lines = 0;
    for (size_t kind = 0; kind < LOG_COUNT; kind++)
        lines += left_out->lines[kind];
    if (lines == 0)
        return;
    cleanup_json_writer struct json_writer line = {0};
    LOG_APPEND(log, &line, LOG_WARNING, "the log is read too slowly: lines were left out",
               FIELD_INT("lines", lines), FIELD_INT("of_audit", left_out->lines[LOG_OF_AUDIT]));
    write_all(log->fd, line.bytes, line.size_bytes);
}

static void empty(struct json_writer *lines)
{
    lines->size_bytes = 0;
    if (lines->capacity_bytes <= KEPT_BYTES)
        return;
    json_writer_free(lines);
    *lines = (struct json_writer){0};
}

static void *run(void *argument)
{
    struct log_writer *writer = argument;
    struct json_writer lines = {0};
    struct left_out left_out = {0};
    while (next_lines(writer, &lines, &left_out)) {
        write_all(writer->log.fd, lines.bytes, lines.size_bytes);
        empty(&lines);
        tell_left_out(&writer->log, &left_out);
    }
    json_writer_free(&lines);
    pthread_mutex_lock(&writer->lock);
    writer->ended = true;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

struct log_writer *log_writer_start(const struct log *log, struct error *error)
{
    struct log_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        abort();
    writer->log = (struct log){.fd = log->fd, .format = log->format};
    clock_cond_init(&writer->changed);
    pthread_mutex_init(&writer->lock, NULL);
    int failed = pthread_create(&writer->thread, NULL, run, writer);
    if (!failed)
        return writer;
    error_set_errno(error, ERROR_INTERNAL, failed, "The log's thread does not start");
    free(writer);
    return NULL;
}

static void leave_out(struct log_writer *writer, enum metric_log kind,
                      const struct json_writer *lines)
{
    int64_t count = count_lines(lines);
    writer->left_out.lines[kind] += count;
    metric_add(METRIC_LOG_LINES_LEFT_OUT, count, kind);
}

void log_writer_take(struct log_writer *writer, enum metric_log kind, struct json_writer *lines)
{
    pthread_mutex_lock(&writer->lock);
    if (writer->pending.size_bytes + lines->size_bytes <= pending_max_bytes[kind])
        json_append(&writer->pending, lines->bytes, lines->size_bytes);
    else
        leave_out(writer, kind, lines);
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    lines->size_bytes = 0;
}

/* False when it still waits for who reads the log. */
static bool wait_for_end(struct log_writer *writer)
{
    const struct timespec until = clock_after_ms(STOP_MAX_MS);
    int failed = 0;
    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    pthread_cond_signal(&writer->changed);
    while (!writer->ended && !failed)
        failed = pthread_cond_timedwait(&writer->changed, &writer->lock, &until);
    bool ended = writer->ended;
    pthread_mutex_unlock(&writer->lock);
    return ended;
}

void log_writer_stop(struct log_writer *writer)
{
    if (!writer)
        return;
    if (!wait_for_end(writer)) {
        pthread_detach(writer->thread); /* it has the writer until the process ends */
        return;
    }
    pthread_join(writer->thread, NULL);
    json_writer_free(&writer->pending);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}
