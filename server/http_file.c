/* Answers from files. What is small is read on the worker that opened the file. What is not is
 * written to the socket by the file sender: libmicrohttpd sends the headers, waits as for any
 * stream, and is then told that the stream has ended. It cannot be told that the body was sent, so
 * it closes the connection. TLS must go through libmicrohttpd, which reads the file on the event
 * loop. */
#include "server/file_sender.h"
#include "server/http_internal.h"
#include "server/node.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { SMALL_BYTES = 64 * 1024 };

/* In the request's arena. */
struct request_file {
    struct file_sending sending;
    bool was_submitted;
};

bool request_can_send_parts(const struct request *request)
{
    return !request->node->tls || request->peer->is_unix;
}

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
    file->was_submitted = true;
    MHD_suspend_connection(request->connection);
    file_sender_submit(request->server->file_sender, &file->sending);
    return 0;
}

static bool take_place(struct http_server *server, struct error *error)
{
    if (atomic_fetch_add(&server->files_open, 1) < FILES_OPEN_MAX)
        return true;
    atomic_fetch_sub(&server->files_open, 1);
    return http_request_refuse_busy("This node sends as many files as it can", error);
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
    request->must_close = strcmp(request->method, "GET") == 0;
    request_answer_sent(request, answer->status, answer->content_type, length_of(answer),
                        wait_for_sender);
    return true;
}

bool request_answer_file(struct request *request, struct file_answer *answer, struct error *error)
{
    if (length_of(answer) <= SMALL_BYTES)
        return answer_from_memory(request, answer, error);
    if (request_can_send_parts(request))
        return answer_by_sender(request, answer, error);
    assert(answer->part_count == 1);
    request_answer_fd(request, answer->status, answer->content_type, steal_fd(&answer->fd),
                      answer->parts[0].offset, answer->parts[0].size_bytes);
    return true;
}

void http_file_close(struct request *request)
{
    if (!request->file)
        return;
    close(request->file->sending.file_fd);
    request->file = NULL;
    atomic_fetch_sub(&request->server->files_open, 1);
}

bool http_file_was_sent(const struct request *request)
{
    return request->file && request->file->was_submitted && !request->file->sending.failed;
}
