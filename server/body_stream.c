#include "server/body_stream.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 1 << 20 };

struct body_stream {
    void (*resume)(void *context);
    void *context;
    pthread_mutex_t lock; /* guards what follows, but for the bytes between first and end */
    pthread_cond_t changed;
    size_t taken_bytes;        /* by the reader, ever */
    size_t put_bytes;          /* by the loop, ever; at most BUFFER_BYTES more than taken */
    size_t reading_bytes;      /* the reader is at that many behind taken_bytes */
    bool ended;                /* the whole body is here */
    bool broken;               /* the connection is over */
    bool left;                 /* the reader wants no more */
    bool loop_waits;           /* its connection is suspended, or about to be */
    char buffer[BUFFER_BYTES]; /* a ring */
};

struct body_stream *body_stream_new(void (*resume)(void *context), void *context)
{
    struct body_stream *stream = malloc(sizeof(*stream));
    if (!stream)
        abort();
    memset(stream, 0, offsetof(struct body_stream, buffer));
    stream->resume = resume;
    stream->context = context;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    return stream;
}

void body_stream_free(struct body_stream *stream)
{
    if (!stream)
        return;
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* How much of it can be put or taken in one piece, from that place of the ring on. */
static size_t contiguous(size_t place, size_t size_bytes)
{
    size_t to_end = BUFFER_BYTES - place % BUFFER_BYTES;
    return size_bytes < to_end ? size_bytes : to_end;
}

static size_t copy_in(struct body_stream *stream, const char *bytes, size_t size_bytes)
{
    size_t room = BUFFER_BYTES - (stream->put_bytes - stream->taken_bytes);
    size_t left = size_bytes < room ? size_bytes : room;
    size_t put = 0;
    while (left > 0) {
        size_t piece = contiguous(stream->put_bytes, left);
        memcpy(stream->buffer + stream->put_bytes % BUFFER_BYTES, bytes + put, piece);
        stream->put_bytes += piece;
        put += piece;
        left -= piece;
    }
    return put;
}

size_t body_stream_put(struct body_stream *stream, const void *bytes, size_t size_bytes, bool *wait)
{
    pthread_mutex_lock(&stream->lock);
    size_t put = stream->left ? size_bytes : copy_in(stream, bytes, size_bytes);
    *wait = put < size_bytes;
    stream->loop_waits = *wait;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return put;
}

bool body_stream_end(struct body_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->ended = true;
    stream->loop_waits = !stream->left;
    bool wait = stream->loop_waits;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return wait;
}

bool body_stream_break_off(struct body_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->broken = true;
    stream->loop_waits = false;
    bool reader_is_there = !stream->left;
    pthread_cond_signal(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return reader_is_there;
}

bool body_stream_is_read(struct body_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool left = stream->left;
    pthread_mutex_unlock(&stream->lock);
    return left;
}

/* The piece that was given is done with. True: the loop can go on. Half of the buffer at
 * once, so that it need not wake for every piece. */
static bool release_piece(struct body_stream *stream)
{
    stream->taken_bytes += stream->reading_bytes;
    stream->reading_bytes = 0;
    bool has_room = stream->put_bytes - stream->taken_bytes <= BUFFER_BYTES / 2;
    if (!stream->loop_waits || stream->ended || !has_room)
        return false;
    stream->loop_waits = false;
    return true;
}

static void wait_for_piece(struct body_stream *stream)
{
    while (stream->put_bytes == stream->taken_bytes && !stream->ended && !stream->broken)
        pthread_cond_wait(&stream->changed, &stream->lock);
}

bool body_stream_next(void *context, const void **bytes, size_t *size_bytes, struct error *error)
{
    struct body_stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    bool resumes = release_piece(stream);
    if (resumes)
        stream->resume(stream->context);
    wait_for_piece(stream);
    bool broken = stream->broken;
    stream->reading_bytes =
        contiguous(stream->taken_bytes, stream->put_bytes - stream->taken_bytes);
    *bytes = stream->buffer + stream->taken_bytes % BUFFER_BYTES;
    *size_bytes = stream->reading_bytes;
    pthread_mutex_unlock(&stream->lock);
    return !broken ||
           error_set(error, ERROR_PULL_CANCELLED, "the client went away before its body was here");
}

bool body_stream_leave(struct body_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    assert(!stream->left);
    stream->left = true;
    bool is_last = stream->broken;
    if (stream->loop_waits) {
        stream->loop_waits = false;
        stream->resume(stream->context);
    }
    pthread_mutex_unlock(&stream->lock);
    return is_last;
}
