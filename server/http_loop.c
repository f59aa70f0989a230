#include "server/http_loop.h"

#include "server/connector.h"
#include "server/http_internal.h"
#include "server/node.h"
#include "server/reader.h"
#include "server/tls.h"
#include "store/cleanup.h"

#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>

enum {
    /* Request line and headers of one request, those of its answer, and 64 bytes for each header
     * and parameter: a header of 8 KiB, the most that nginx takes of one, has room. libmicrohttpd
     * zeroes all of it twice for each request, and an idle connection keeps it. */
    CONNECTION_MEMORY_BYTES = 12 * 1024,
    IDLE_TIMEOUT_SECONDS = 60,
    SLEEP_MAX_MS = 1000,
    LOG_LINES_MAX_BYTES = 64 * 1024, /* then they are handed on, */
    LOG_LINES_MAX_MS = 100,          /* or after that time */
    LOOK_FOR_LATE_US = 100 * 1000,
    EVENTS_AT_ONCE = 16,
    FENCE_PUT_OFF_US = 500,
#ifdef __SANITIZE_ADDRESS__
    SPARE_REQUESTS_MAX = 0, /* so that it sees who touches one that is over */
#else
    SPARE_REQUESTS_MAX = 64, /* some 10 KiB each */
#endif
};

/* A libmicrohttpd daemon and its listening socket. */
struct daemon {
    struct MHD_Daemon *mhd;
    int listen_fd;
    bool owns_listen_fd; /* else it is the listener's */
    bool is_due;         /* has something to do now */
};

enum order { ORDER_SERVE, ORDER_QUIESCE, ORDER_STOP };

struct http_loop {
    struct http_server *server;
    pthread_t thread;
    bool is_running;
    int epoll_fd; /* of the daemons' epolls and wake_fd */
    int wake_fd;  /* an eventfd: something is in the inbox */
    /* its thread's own, once that runs */
    struct daemon *daemons;
    size_t daemon_count;
    struct reader *reader;
    bool reader_is_due;
    struct request *spare_requests; /* owned; linked by next_resumed */
    unsigned spare_request_count;
    int64_t fence_wanted_us; /* since when one is put off; 0: none is */
    struct json_writer log_lines;
    int64_t log_lines_since_us;
    int64_t looked_for_late_us;
    char id_prefix[16]; /* hex digits, drawn at the start */
    uint64_t id_count;
    bool is_awake; /* by wake_fd */
    bool is_quiet;
    /* from any thread */
    sem_t quiesced;
    pthread_mutex_t lock; /* guards what follows */
    struct request *inbox;
    struct pipeline_connection *connection; /* owned; for the reader */
    enum order order;
};

/* Paths are decoded by path.c, after they are split. */
static size_t leave_escaped(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void log_mhd(void *context, const char *format,
                                                          va_list arguments)
{
    struct http_loop *loop = context;
    char text[256];
    vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\n")] = '\0';
    LOG(&loop->server->node->log, LOG_WARNING, "http", FIELD_TEXT("detail", text));
}

static struct MHD_Daemon *start_mhd(struct http_loop *loop, const struct listener *listener,
                                    int listen_fd)
{
    /* Beyond it connections would wait in the backlog without a word: ours come first. */
    unsigned limit = (unsigned)loop->server->connections.limit + 2 * HTTP_EXCESS_MAX;
    struct MHD_OptionItem tls_options[TLS_OPTIONS_MAX] = {{MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (listener->uses_tls) {
        flags |= MHD_USE_TLS;
        tls_daemon_options(loop->server->node->tls, tls_options);
    }
    return MHD_start_daemon(
        flags, 0, NULL, NULL, http_request_step, loop, MHD_OPTION_EXTERNAL_LOGGER, log_mhd, loop,
        MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_URI_LOG_CALLBACK, http_request_new, loop, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escaped, NULL, MHD_OPTION_NOTIFY_COMPLETED, http_request_completed, loop,
        MHD_OPTION_NOTIFY_CONNECTION, http_connection_notify, &loop->server->connections,
        MHD_OPTION_ARRAY, tls_options, MHD_OPTION_END);
}

static bool watch_fd(struct http_loop *loop, int fd, struct daemon *daemon)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = daemon};
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_daemon(struct http_loop *loop, const struct listener *listener, bool is_first,
                        struct error *error)
{
    struct daemon *daemon = &loop->daemons[loop->daemon_count];
    int own_fd = is_first ? -1 : listener_open_twin(listener);
    *daemon = (struct daemon){.owns_listen_fd = own_fd >= 0,
                              .listen_fd = own_fd >= 0 ? own_fd : listener->fd};
    loop->daemon_count++;
    daemon->mhd = start_mhd(loop, listener, daemon->listen_fd);
    const union MHD_DaemonInfo *info =
        daemon->mhd ? MHD_get_daemon_info(daemon->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    return (info && watch_fd(loop, info->epoll_fd, daemon)) ||
           error_set(error, ERROR_INTERNAL, "Cannot serve HTTP at %s", listener->url);
}

/* --- on the loop's thread --- */

static int lesser(int one, int other)
{
    return one < other ? one : other;
}

static void hand_on_log(struct http_loop *loop)
{
    if (loop->log_lines.size_bytes == 0)
        return;
    int64_t age_us = clock_now_us() - loop->log_lines_since_us;
    if (loop->log_lines.size_bytes >= LOG_LINES_MAX_BYTES || age_us >= LOG_LINES_MAX_MS * 1000)
        log_write_lines(&loop->server->node->log, LOG_OF_REQUEST, &loop->log_lines);
}

/* A loop that has nothing to do looks as often as it wakes, once a second. */
static void look_for_late(struct http_loop *loop)
{
    int64_t now_us = clock_now_us();
    if (now_us - loop->looked_for_late_us < LOOK_FOR_LATE_US)
        return;
    loop->looked_for_late_us = now_us;
    http_request_answer_late(loop->server);
}

/* Until a daemon has to be run again, whatever comes. */
static int sleep_ms(struct http_loop *loop)
{
    int reader_ms = reader_expire(loop->reader);
    int shortest_ms = loop->log_lines.size_bytes > 0 ? LOG_LINES_MAX_MS : SLEEP_MAX_MS;
    if (reader_ms >= 0)
        shortest_ms = lesser(shortest_ms, reader_ms);
    for (size_t i = 0; i < loop->daemon_count; i++) {
        MHD_UNSIGNED_LONG_LONG ms = SLEEP_MAX_MS;
        if (MHD_get_timeout(loop->daemons[i].mhd, &ms) == MHD_YES && ms == 0)
            loop->daemons[i].is_due = true;
        if (loop->daemons[i].is_due)
            return 0;
        if (ms < (MHD_UNSIGNED_LONG_LONG)shortest_ms)
            shortest_ms = (int)ms;
    }
    return shortest_ms;
}

static void set_all_due(struct http_loop *loop)
{
    for (size_t i = 0; i < loop->daemon_count; i++)
        loop->daemons[i].is_due = true;
}

static bool may_put_off_fence(struct http_loop *loop)
{
    int64_t now_us = clock_now_us();
    if (loop->fence_wanted_us == 0)
        loop->fence_wanted_us = now_us;
    return now_us - loop->fence_wanted_us < FENCE_PUT_OFF_US;
}

/* A fence is for all who are here: it goes when nobody else comes, or they do not cease to. */
static int next_events(struct http_loop *loop, struct epoll_event *events)
{
    int timeout_ms = sleep_ms(loop);
    if (!reader_wants_fence(loop->reader)) {
        loop->fence_wanted_us = 0; /* another loop's was for all who waited */
        return epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, timeout_ms);
    }
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, 0);
    bool more_come = count != 0 || timeout_ms == 0; /* a daemon that is due has some, too */
    if (more_come && may_put_off_fence(loop))
        return count;
    loop->fence_wanted_us = 0;
    reader_fence(loop->reader);
    return count != 0 ? count : epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, sleep_ms(loop));
}

static void wait_for_events(struct http_loop *loop)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = next_events(loop, events);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == loop)
            loop->reader_is_due = true;
        else if (events[i].data.ptr)
            ((struct daemon *)events[i].data.ptr)->is_due = true;
        else
            loop->is_awake = true;
    }
    if (count == 0)
        set_all_due(loop);
}

/* A request that the reader answered after a while. */
static void resume_here(struct request *request)
{
    MHD_resume_connection(request->connection);
    set_all_due(request->loop);
}

static void reconnect(void *context)
{
    struct http_loop *loop = context;
    atomic_fetch_sub(&loop->server->connected_loops, 1);
    connector_ask(loop->server->connector, loop);
}

/* libmicrohttpd removes the listening socket from its epoll, and it is ours again. */
static void stop_listening(struct http_loop *loop)
{
    if (loop->is_quiet)
        return;
    loop->is_quiet = true;
    for (size_t i = 0; i < loop->daemon_count; i++)
        MHD_quiesce_daemon(loop->daemons[i].mhd);
    sem_post(&loop->quiesced);
}

static void attach(struct http_loop *loop, struct pipeline_connection *connection)
{
    reader_attach(loop->reader, connection);
    atomic_fetch_add(&loop->server->connected_loops, 1);
}

static enum order take_inbox(struct http_loop *loop)
{
    uint64_t ignored = 0;
    if (!loop->is_awake || read(loop->wake_fd, &ignored, sizeof(ignored)) < 0)
        return ORDER_SERVE; /* nobody woke us */
    loop->is_awake = false;
    pthread_mutex_lock(&loop->lock);
    struct request *request = steal(&loop->inbox);
    struct pipeline_connection *connection = steal(&loop->connection);
    enum order order = loop->order;
    pthread_mutex_unlock(&loop->lock);
    if (connection)
        attach(loop, connection);
    while (request) {
        struct request *next = request->next_resumed;
        resume_here(request);
        request = next;
    }
    return order;
}

static void run_due_daemons(struct http_loop *loop)
{
    for (size_t i = 0; i < loop->daemon_count; i++) {
        if (!loop->daemons[i].is_due)
            continue;
        loop->daemons[i].is_due = false;
        MHD_run(loop->daemons[i].mhd);
    }
}

static void *run(void *argument)
{
    struct http_loop *loop = argument;
    enum order order = ORDER_SERVE;
    while (order != ORDER_STOP) {
        wait_for_events(loop);
        order = take_inbox(loop);
        if (order == ORDER_QUIESCE)
            stop_listening(loop);
        if (loop->reader_is_due)
            reader_receive(loop->reader);
        loop->reader_is_due = false;
        reader_pass(loop->reader);
        run_due_daemons(loop);
        reader_flush(loop->reader);
        hand_on_log(loop);
        look_for_late(loop);
    }
    reader_free(steal(&loop->reader));
    run_due_daemons(loop);
    return NULL;
}

/* --- from other threads --- */

static void wake(void *context)
{
    const struct http_loop *loop = context;
    const uint64_t one = 1;
    if (write(loop->wake_fd, &one, sizeof(one)) < 0)
        return; /* its counter is full: it is awake */
}

static void give_order(struct http_loop *loop, enum order order)
{
    pthread_mutex_lock(&loop->lock);
    loop->order = order;
    pthread_mutex_unlock(&loop->lock);
    wake(loop);
}

struct http_server *http_loop_server(const struct http_loop *loop)
{
    return loop->server;
}

struct request *http_loop_take_request(struct http_loop *loop)
{
    struct request *request = loop->spare_requests;
    if (request) {
        loop->spare_requests = request->next_resumed;
        loop->spare_request_count--;
        request->next_resumed = NULL;
        return request;
    }
    request = calloc(1, sizeof(*request));
    if (!request)
        abort();
    return request;
}

void http_loop_discard_request(struct request *request)
{
    arena_free(&request->arena);
    free(request);
}

void http_loop_give_request(struct http_loop *loop, struct request *request)
{
    if (loop->spare_request_count + 1 > SPARE_REQUESTS_MAX) {
        http_loop_discard_request(request);
        return;
    }
    arena_reset(&request->arena);
    *request = (struct request){.arena = request->arena, .next_resumed = loop->spare_requests};
    loop->spare_requests = request;
    loop->spare_request_count++;
}

static void free_spare_requests(struct http_loop *loop)
{
    while (loop->spare_requests)
        http_loop_discard_request(http_loop_take_request(loop));
}

struct json_writer *http_loop_log(struct http_loop *loop)
{
    if (loop->log_lines.size_bytes == 0)
        loop->log_lines_since_us = clock_now_us();
    return &loop->log_lines;
}

static void write_hex(char *text, uint64_t value)
{
    for (int i = 15; i >= 0; i--, value >>= 4)
        text[i] = "0123456789abcdef"[value & 15];
}

void http_loop_new_id(struct http_loop *loop, char id[33])
{
    memcpy(id, loop->id_prefix, sizeof(loop->id_prefix));
    write_hex(id + 16, loop->id_count++);
    id[32] = '\0';
}

struct reader *http_loop_reader(const struct http_loop *loop)
{
    return loop->reader;
}

void http_loop_connect(struct http_loop *loop, struct pipeline_connection *connection)
{
    pthread_mutex_lock(&loop->lock);
    loop->connection = connection;
    pthread_mutex_unlock(&loop->lock);
    wake(loop);
}

void http_loop_resume(struct http_loop *loop, struct request *request)
{
    pthread_mutex_lock(&loop->lock);
    bool was_empty = !loop->inbox;
    request->next_resumed = loop->inbox;
    loop->inbox = request;
    pthread_mutex_unlock(&loop->lock);
    if (was_empty)
        wake(loop);
}

void http_loop_quiesce(struct http_loop *loop)
{
    give_order(loop, ORDER_QUIESCE);
    while (sem_wait(&loop->quiesced) != 0)
        continue; /* interrupted by a signal */
}

static struct http_loop *loop_new(struct http_server *server)
{
    struct http_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        abort();
    loop->server = server;
    uint64_t drawn = 0;
    if (getrandom(&drawn, sizeof(drawn), 0) != (ssize_t)sizeof(drawn))
        abort();
    write_hex(loop->id_prefix, drawn);
    loop->daemons = calloc(server->listener_count, sizeof(*loop->daemons));
    if (!loop->daemons)
        abort();
    pthread_mutex_init(&loop->lock, NULL);
    sem_init(&loop->quiesced, 0, 0);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->reader =
        reader_new(server->node, loop->epoll_fd, loop, resume_here, reconnect, wake, loop);
    return loop;
}

/* At the start PostgreSQL was just there: the first request finds a connection. */
static void connect_now(struct http_loop *loop)
{
    struct error ignored; /* then it is the connector's */
    struct pipeline_connection *connection =
        pipeline_connect(loop->server->node->catalogue, &ignored);
    if (connection)
        attach(loop, connection);
    else
        connector_ask(loop->server->connector, loop);
}

struct http_loop *http_loop_start(struct http_server *server, bool is_first, struct error *error)
{
    struct http_loop *loop = loop_new(server);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 || !watch_fd(loop, loop->wake_fd, NULL)) {
        error_set_errno(error, ERROR_INTERNAL, errno, "An event loop has no epoll");
        goto failed;
    }
    for (size_t i = 0; i < server->listener_count; i++)
        if (!open_daemon(loop, &server->listeners[i], is_first, error))
            goto failed;
    connect_now(loop);
    int failed = pthread_create(&loop->thread, NULL, run, loop);
    if (failed) {
        error_set_errno(error, ERROR_INTERNAL, failed, "An event loop's thread does not start");
        goto failed;
    }
    loop->is_running = true;
    return loop;
failed:
    http_loop_stop(loop);
    return NULL;
}

static void close_daemon(struct daemon *daemon)
{
    if (daemon->mhd) {
        MHD_quiesce_daemon(daemon->mhd); /* or it would close what may be the listener's */
        MHD_stop_daemon(daemon->mhd);
    }
    if (daemon->owns_listen_fd)
        close(daemon->listen_fd);
}

void http_loop_stop(struct http_loop *loop)
{
    if (!loop)
        return;
    if (loop->is_running) {
        give_order(loop, ORDER_STOP);
        pthread_join(loop->thread, NULL);
    }
    reader_free(loop->reader);
    pipeline_discard(loop->connection);
    for (size_t i = 0; i < loop->daemon_count; i++)
        close_daemon(&loop->daemons[i]);
    free_spare_requests(loop);
    if (loop->log_lines.size_bytes > 0)
        log_write_lines(&loop->server->node->log, LOG_OF_REQUEST, &loop->log_lines);
    json_writer_free(&loop->log_lines);
    cleanup_close_fd(&loop->epoll_fd);
    cleanup_close_fd(&loop->wake_fd);
    sem_destroy(&loop->quiesced);
    pthread_mutex_destroy(&loop->lock);
    free(loop->daemons);
    free(loop);
}
