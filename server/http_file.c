/* Answers from files. What is small is read on the worker that opened the file. What is not is
 * written to the socket by the file sender: libmicrohttpd sends the headers, waits as for any
 * stream, and is then told that the stream has ended. It cannot be told that the body was sent, so
 * it closes the connection. Over TLS, which is libmicrohttpd's, it is given one piece of memory
 * after the other that the file sender has filled. */
#include "server/file_sender.h"
#include "server/http_internal.h"
#include "server/node.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    SMALL_BYTES = 64 * 1024,
    MEMORY_BYTES = 64 * 1024, /* of one that is sent over TLS */
    RECORD_BYTES = 16 * 1024, /* the most that TLS sends at once */
    UNUSED_BYTES = 16,        /* of libmicrohttpd's, where the sender writes to the socket */
};

/* In the request's arena, but for the sending's memory. */
struct request_file {
    struct file_sending sending;
    bool was_submitted;
    size_t taken_bytes; /* of what is in memory */
};

static uint64_t length_of(const struct file_answer *answer)
{
    uint64_t length = 0;
    for (size_t i = 0; i < answer->part_count; i++)
        length += answer->parts[i].head_size + answer->parts[i].size_bytes;
    return length;
}

/* --- read at once --- */

static bool read_part(int fd, const struct file_part *part, struct json_writer *out,
                      struct error *error)
{
    char buffer[4096];
    json_append(out, part->head, part->head_size);
    for (uint64_t done = 0; done < part->size_bytes;) {
        uint64_t left = part->size_bytes - done;
        ssize_t count = pread(fd, buffer, left < sizeof(buffer) ? left : sizeof(buffer),
                              (off_t)(part->offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "A file cannot be read");
        if (count == 0)
            return error_set(error, ERROR_INTERNAL, "A file is shorter than it was");
        json_append(out, buffer, (size_t)count);
        done += (uint64_t)count;
    }
    return true;
}

static bool answer_from_memory(struct request *request, const struct file_answer *answer,
                               struct error *error)
{
    cleanup_json_writer struct json_writer out = {0};
    for (size_t i = 0; i < answer->part_count; i++)
        if (!read_part(answer->fd, &answer->parts[i], &out, error))
            return false;
    request_answer_text(request, answer->status, answer->content_type, &out);
    return true;
}

/* --- by the sender --- */

static void sending_is_done(struct file_sending *sending)
{
    http_request_resume(sending->context);
}

/* On the event loop, which does not hear of the end before it has suspended the connection. */
static ssize_t hand_to_sender(struct request *request)
{
    struct file_sending *sending = &request->file->sending;
    request->file->was_submitted = true;
    if (!file_sender_submit(request->server->file_sender, sending)) {
        sending->failed = true;
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    MHD_suspend_connection(request->connection);
    return 0;
}

/* On the event loop, once the headers are sent, and again when the sender is done. */
static ssize_t wait_for_sender(void *context, uint64_t position, char *buffer, size_t size)
{
    (void)position;
    (void)buffer;
    (void)size;
    struct request *request = context;
    struct request_file *file = request->file;
    if (file->was_submitted)
        return file->sending.failed ? MHD_CONTENT_READER_END_WITH_ERROR
                                    : MHD_CONTENT_READER_END_OF_STREAM;
    return hand_to_sender(request);
}

static bool is_all_read(const struct file_sending *sending)
{
    return sending->part == sending->part_count;
}

/* On the event loop: what is in memory, and then the sender is to fill it again. */
static ssize_t take_piece(void *context, uint64_t position, char *buffer, size_t size)
{
    (void)position;
    struct request *request = context;
    struct request_file *file = request->file;
    struct file_sending *sending = &file->sending;
    size_t left = sending->read_bytes - file->taken_bytes;
    size_t count = left < size ? left : size;
    memcpy(buffer, sending->memory + file->taken_bytes, count);
    file->taken_bytes += count;
    if (count > 0)
        return (ssize_t)count;
    if (sending->failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (is_all_read(sending))
        return MHD_CONTENT_READER_END_OF_STREAM;
    sending->read_bytes = file->taken_bytes = 0;
    return hand_to_sender(request);
}

static bool take_place(struct http_server *server, struct error *error)
{
    if (atomic_fetch_add(&server->files_open, 1) < FILES_OPEN_MAX)
        return true;
    atomic_fetch_sub(&server->files_open, 1);
    return request_refuse_busy("This node sends as many files as it can", error);
}

static void read_into_memory(struct file_sending *sending)
{
    sending->socket_fd = -1;
    sending->memory_size = MEMORY_BYTES;
    sending->memory = malloc(MEMORY_BYTES);
    if (!sending->memory)
        abort();
}

/* libmicrohttpd sends no body in answer to HEAD, and asks for none. */
static ssize_t nobody_reads(void *context, uint64_t position, char *buffer, size_t size)
{
    (void)context;
    (void)position;
    (void)buffer;
    (void)size;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static bool answer_by_sender(struct request *request, struct file_answer *answer,
                             struct error *error)
{
    if (!take_place(request->server, error))
        return false;
    struct request_file *file = arena_alloc(&request->arena, sizeof(*file));
    *file = (struct request_file){
        .sending = {.socket_fd = http_connection_of(request->connection)->fd,
                    .file_fd = steal_fd(&answer->fd),
                    .parts = answer->parts,
                    .part_count = answer->part_count,
                    .done = sending_is_done,
                    .context = request},
    };
    request->file = file;
    if (request->node->tls && !request->peer->is_unix) {
        read_into_memory(&file->sending);
        request_answer_pieces(request, answer->status, answer->content_type, length_of(answer),
                              RECORD_BYTES, take_piece);
        return true;
    }
    request->must_close = true;
    request_answer_pieces(request, answer->status, answer->content_type, length_of(answer),
                          UNUSED_BYTES, wait_for_sender);
    return true;
}

bool request_answer_file(struct request *request, struct file_answer *answer, struct error *error)
{
    if (length_of(answer) <= SMALL_BYTES)
        return answer_from_memory(request, answer, error);
    if (strcmp(request->method, "HEAD") != 0)
        return answer_by_sender(request, answer, error);
    request_answer_pieces(request, answer->status, answer->content_type, length_of(answer),
                          UNUSED_BYTES, nobody_reads);
    return true;
}

void http_file_close(struct request *request)
{
    if (!request->file)
        return;
    close(request->file->sending.file_fd);
    free(request->file->sending.memory);
    request->file = NULL;
    atomic_fetch_sub(&request->server->files_open, 1);
}

bool http_file_was_sent(const struct request *request)
{
    const struct request_file *file = request->file;
    return file && file->was_submitted && file->sending.socket_fd >= 0 && !file->sending.failed;
}
