/* Sends files to clients on threads of its own, with sendfile(2): however slow the client or
 * the disk is, neither an event loop nor a worker waits for it.
 *
 * Each thread has an epoll with the sockets that wait for their client. A socket belongs to
 * the sender from file_sender_submit() until `done` is called; nobody else writes to it.
 */
#ifndef LARDER_SERVER_FILE_SENDER_H
#define LARDER_SERVER_FILE_SENDER_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_sender;

/* Some text, then bytes of the file. */
struct file_part {
    const char *head;
    size_t head_size;
    uint64_t offset;
    uint64_t size_bytes;
};

/* One file on its way to one client; the caller's until it is submitted, and again once it is
 * done. */
struct file_sending {
    int socket_fd; /* does not block */
    int file_fd;
    const struct file_part *parts;
    size_t part_count;
    /* On a thread of the sender, or of who stops it: all was sent, or it failed. */
    void (*done)(struct file_sending *sending);
    void *context;
    bool failed; /* the client left or stood still, or the file could not be read */
    /* of the sender */
    struct file_sending *next;
    struct file_sending *previous;
    size_t part;
    uint64_t sent_bytes; /* of that part, its text included */
    int64_t progress_us;
    bool is_watched;
};

[[nodiscard]] struct file_sender *file_sender_start(struct error *error);
/* Any thread. */
void file_sender_submit(struct file_sender *sender, struct file_sending *sending);
/* What is not sent fails. Nobody may submit any more. NULL is fine. */
void file_sender_stop(struct file_sender *sender);

#endif
