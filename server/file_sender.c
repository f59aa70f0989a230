#include "server/file_sender.h"

#include "server/clock.h"
#include "store/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum {
    THREADS = 4, /* a disk that hangs holds up one at a time */
    EVENTS_AT_ONCE = 64,
    PIECE_BYTES = 1 << 20,
    TURN_BYTES = 4 << 20, /* then it is another client's turn */
    LOOK_EVERY_MS = 1000,
    STILL_MAX_US = 60 * 1000 * 1000, /* a client that takes nothing for so long is given up */
};

enum progress { SENT_SOME, SENT_ALL, MEMORY_FULL, MUST_WAIT, FAILED };

struct sending_thread {
    pthread_t thread;
    int epoll_fd;                 /* of the sockets that wait, and wake_fd */
    int wake_fd;                  /* an eventfd: something is in the inbox, or it is the end */
    struct file_sending *running; /* the thread's own; linked both ways */
    pthread_mutex_t lock;         /* guards what follows */
    struct file_sending *inbox;
    bool stopping;
};

struct file_sender {
    size_t thread_count; /* that run */
    atomic_uint next;    /* who takes the next one */
    struct sending_thread threads[THREADS];
};

/* --- one file --- */

static ssize_t read_piece(struct file_sending *sending, const struct file_part *part)
{
    uint64_t sent = sending->sent_bytes;
    uint64_t left = part->head_size + part->size_bytes - sent;
    size_t room = sending->memory_size - sending->read_bytes;
    char *to = sending->memory + sending->read_bytes;
    ssize_t count;
    if (sent < part->head_size) {
        size_t of_head = part->head_size - sent;
        count = (ssize_t)(of_head < room ? of_head : room);
        memcpy(to, part->head + sent, (size_t)count);
    } else {
        count = pread(sending->file_fd, to, left < room ? left : room,
                      (off_t)(part->offset + sent - part->head_size));
    }
    sending->read_bytes += count > 0 ? (size_t)count : 0;
    return count;
}

static ssize_t send_piece(const struct file_sending *sending, const struct file_part *part)
{
    uint64_t sent = sending->sent_bytes;
    if (sent < part->head_size)
        return send(sending->socket_fd, part->head + sent, part->head_size - sent,
                    MSG_MORE | MSG_NOSIGNAL);
    uint64_t done = sent - part->head_size;
    uint64_t left = part->size_bytes - done;
    off_t offset = (off_t)(part->offset + done);
    return sendfile(sending->socket_fd, sending->file_fd, &offset,
                    left < PIECE_BYTES ? left : PIECE_BYTES);
}

static enum progress send_next(struct file_sending *sending, uint64_t *turn_bytes)
{
    const struct file_part *part = &sending->parts[sending->part];
    uint64_t part_bytes = part->head_size + part->size_bytes;
    if (sending->sent_bytes < part_bytes) {
        bool to_memory = sending->socket_fd < 0;
        if (to_memory && sending->read_bytes == sending->memory_size)
            return MEMORY_FULL;
        ssize_t count = to_memory ? read_piece(sending, part) : send_piece(sending, part);
        if (count < 0 && errno == EINTR)
            return SENT_SOME;
        if (count < 0 && errno == EAGAIN)
            return MUST_WAIT;
        if (count <= 0) /* 0: the file is shorter than it was */
            return FAILED;
        sending->sent_bytes += (uint64_t)count;
        *turn_bytes += (uint64_t)count;
        sending->progress_us = clock_now_us();
    }
    if (sending->sent_bytes == part_bytes) {
        sending->part++;
        sending->sent_bytes = 0;
    }
    return sending->part == sending->part_count ? SENT_ALL : SENT_SOME;
}

static enum progress take_turn(struct file_sending *sending)
{
    uint64_t turn_bytes = 0;
    enum progress progress = SENT_SOME;
    while (progress == SENT_SOME && turn_bytes < TURN_BYTES)
        progress = send_next(sending, &turn_bytes);
    return progress;
}

/* --- on its thread --- */

static void end(struct sending_thread *thread, struct file_sending *sending, bool failed)
{
    if (sending->is_watched)
        epoll_ctl(thread->epoll_fd, EPOLL_CTL_DEL, sending->socket_fd, NULL);
    if (sending->previous)
        sending->previous->next = sending->next;
    else
        thread->running = sending->next;
    if (sending->next)
        sending->next->previous = sending->previous;
    sending->failed = failed;
    sending->done(sending);
}

static void run_one(struct sending_thread *thread, struct file_sending *sending)
{
    enum progress progress = take_turn(sending);
    if (progress == SENT_ALL || progress == MEMORY_FULL || progress == FAILED) {
        end(thread, sending, progress == FAILED);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = sending};
    if (sending->is_watched)
        return;
    sending->is_watched =
        epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, sending->socket_fd, &event) == 0;
    if (!sending->is_watched)
        end(thread, sending, true);
}

static void begin(struct sending_thread *thread, struct file_sending *sending)
{
    sending->previous = NULL;
    sending->next = thread->running;
    if (sending->next)
        sending->next->previous = sending;
    thread->running = sending;
    sending->progress_us = clock_now_us();
    run_one(thread, sending);
}

static void give_up_still_ones(struct sending_thread *thread)
{
    int64_t oldest_us = clock_now_us() - STILL_MAX_US;
    for (struct file_sending *sending = thread->running; sending;) {
        struct file_sending *next = sending->next;
        if (sending->progress_us < oldest_us)
            end(thread, sending, true);
        sending = next;
    }
}

/* False: it is the end. */
static bool take_inbox(struct sending_thread *thread)
{
    uint64_t ignored = 0;
    if (read(thread->wake_fd, &ignored, sizeof(ignored)) < 0)
        return true; /* nobody woke us */
    pthread_mutex_lock(&thread->lock);
    struct file_sending *sending = steal(&thread->inbox);
    bool goes_on = !thread->stopping;
    pthread_mutex_unlock(&thread->lock);
    while (sending) {
        struct file_sending *next = sending->next;
        begin(thread, sending);
        sending = next;
    }
    return goes_on;
}

static void *run(void *argument)
{
    struct sending_thread *thread = argument;
    int64_t look_us = clock_now_us();
    do {
        struct epoll_event events[EVENTS_AT_ONCE];
        int count = epoll_wait(thread->epoll_fd, events, EVENTS_AT_ONCE, LOOK_EVERY_MS);
        for (int i = 0; i < count; i++)
            if (events[i].data.ptr)
                run_one(thread, events[i].data.ptr);
        if (clock_now_us() - look_us >= LOOK_EVERY_MS * 1000) {
            look_us = clock_now_us();
            give_up_still_ones(thread);
        }
    } while (take_inbox(thread));
    while (thread->running)
        end(thread, thread->running, true);
    return NULL;
}

/* --- from other threads --- */

static void wake(struct sending_thread *thread)
{
    const uint64_t one = 1;
    if (write(thread->wake_fd, &one, sizeof(one)) < 0)
        return; /* its counter is full: it is awake */
}

bool file_sender_submit(struct file_sender *sender, struct file_sending *sending)
{
    if (!sending->thread)
        sending->thread =
            &sender->threads[atomic_fetch_add(&sender->next, 1) % sender->thread_count];
    struct sending_thread *thread = sending->thread;
    pthread_mutex_lock(&thread->lock);
    bool taken = !thread->stopping;
    if (taken) {
        sending->next = thread->inbox;
        thread->inbox = sending;
    }
    pthread_mutex_unlock(&thread->lock);
    if (taken)
        wake(thread);
    return taken;
}

static bool start_thread(struct sending_thread *thread, struct error *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (thread->epoll_fd < 0 || thread->wake_fd < 0 ||
        epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, thread->wake_fd, &event) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "A thread for files has no epoll");
    pthread_mutex_init(&thread->lock, NULL);
    int failed = pthread_create(&thread->thread, NULL, run, thread);
    return failed == 0 ||
           error_set_errno(error, ERROR_INTERNAL, failed, "A thread for files does not start");
}

struct file_sender *file_sender_start(struct error *error)
{
    struct file_sender *sender = calloc(1, sizeof(*sender));
    if (!sender)
        abort();
    for (; sender->thread_count < THREADS; sender->thread_count++) {
        struct sending_thread *thread = &sender->threads[sender->thread_count];
        if (start_thread(thread, error))
            continue;
        cleanup_close_fd(&thread->epoll_fd);
        cleanup_close_fd(&thread->wake_fd);
        file_sender_stop(sender);
        file_sender_free(sender);
        return NULL;
    }
    return sender;
}

static void stop_thread(struct sending_thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    thread->stopping = true;
    pthread_mutex_unlock(&thread->lock);
    wake(thread);
    pthread_join(thread->thread, NULL);
}

void file_sender_stop(struct file_sender *sender)
{
    for (size_t i = 0; sender && i < sender->thread_count; i++)
        stop_thread(&sender->threads[i]);
}

void file_sender_free(struct file_sender *sender)
{
    for (size_t i = 0; sender && i < sender->thread_count; i++) {
        struct sending_thread *thread = &sender->threads[i];
        pthread_mutex_destroy(&thread->lock);
        cleanup_close_fd(&thread->epoll_fd);
        cleanup_close_fd(&thread->wake_fd);
    }
    free(sender);
}
