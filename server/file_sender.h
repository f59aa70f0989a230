/* Reads files for clients on threads of its own: however slow the client or the disk is, neither
 * an event loop nor a worker waits for it. What is sent as it is goes to the socket with
 * sendfile(2); for TLS it is read into memory, a piece at a time.
 *
 * Each thread has an epoll with the sockets that wait for their client. Socket and memory belong
 * to the sender from file_sender_submit() until `done` is called; nobody else writes to them.
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
 * done. One that is read into memory is submitted again for each piece. */
struct file_sending {
    int socket_fd; /* does not block; -1: into memory */
    char *memory;
    size_t memory_size;
    size_t read_bytes; /* that are in memory; the caller sets it to 0 to have more */
    int file_fd;
    const struct file_part *parts;
    size_t part_count;
    /* On a thread of the sender, or of who stops it: all was sent, the memory is full, or it
     * failed. */
    void (*done)(struct file_sending *sending);
    void *context;
    bool failed; /* the client left or stood still, or the file could not be read */
    /* of the sender */
    struct sending_thread *thread; /* the same for all its pieces */
    struct file_sending *next;
    struct file_sending *previous;
    size_t part;
    uint64_t sent_bytes; /* of that part, its text included */
    int64_t progress_us;
    bool is_watched;
};

[[nodiscard]] struct file_sender *file_sender_start(struct error *error);
/* Any thread. False: it was stopped; the sending is the caller's still. */
[[nodiscard]] bool file_sender_submit(struct file_sender *sender, struct file_sending *sending);
/* What is not sent fails, and no more is taken. NULL is fine. */
void file_sender_stop(struct file_sender *sender);
/* Of one that was stopped, when nobody submits any more. NULL is fine. */
void file_sender_free(struct file_sender *sender);

#endif
