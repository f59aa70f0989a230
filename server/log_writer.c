#include "server/log_writer.h"

#include <pthread.h>
#include <string.h>

enum { PENDING_MAX_BYTES = 4 << 20 };

struct log_writer {
    const struct log *log;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows; not held while writing */
    pthread_cond_t changed;
    struct json_writer pending;
    int64_t left_out; /* lines, since the last one that said so */
    bool stopping;
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

/* A log that nobody takes any more must not stop the node. */
static void write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return;
        bytes += written;
        size -= (size_t)written;
    }
}

/* Waits for lines and takes them over; false when it is the end and there are none. */
static bool next_lines(struct log_writer *writer, struct json_writer *lines, int64_t *left_out)
{
    pthread_mutex_lock(&writer->lock);
    while (writer->pending.size_bytes == 0 && !writer->stopping)
        pthread_cond_wait(&writer->changed, &writer->lock);
    struct json_writer taken = writer->pending;
    writer->pending = *lines;
    *lines = taken;
    *left_out = writer->left_out;
    writer->left_out = 0;
    pthread_mutex_unlock(&writer->lock);
    return taken.size_bytes > 0;
}

static void *run(void *argument)
{
    struct log_writer *writer = argument;
    struct json_writer lines = {0};
    int64_t left_out = 0;
    while (next_lines(writer, &lines, &left_out)) {
        write_all(writer->log->fd, lines.bytes, lines.size_bytes);
        lines.size_bytes = 0;
        if (left_out > 0)
            LOG(writer->log, LOG_WARNING, "the log is read too slowly: lines were left out",
                FIELD_INT("lines", left_out));
    }
    json_writer_free(&lines);
    return NULL;
}

struct log_writer *log_writer_start(const struct log *log, struct error *error)
{
    struct log_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        abort();
    writer->log = log;
    pthread_cond_init(&writer->changed, NULL);
    pthread_mutex_init(&writer->lock, NULL);
    int failed = pthread_create(&writer->thread, NULL, run, writer);
    if (!failed)
        return writer;
    error_set_errno(error, ERROR_INTERNAL, failed, "The log's thread does not start");
    free(writer);
    return NULL;
}

void log_writer_take(struct log_writer *writer, struct json_writer *lines)
{
    pthread_mutex_lock(&writer->lock);
    if (writer->pending.size_bytes + lines->size_bytes <= PENDING_MAX_BYTES)
        json_append(&writer->pending, lines->bytes, lines->size_bytes);
    else
        writer->left_out += count_lines(lines);
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    lines->size_bytes = 0;
}

void log_writer_stop(struct log_writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    json_writer_free(&writer->pending);
    pthread_cond_destroy(&writer->changed);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}
