/* What the files of the HTTP server share: the server, its connections, and the
 * way of a request through them. For server/http_*.c alone. */
#ifndef LARDER_SERVER_HTTP_INTERNAL_H
#define LARDER_SERVER_HTTP_INTERNAL_H

#include "server/clock.h"
#include "server/connector.h"
#include "server/file_sender.h"
#include "server/http_loop.h"
#include "server/http_server.h"
#include "server/peer.h"
#include "server/place_counts.h"
#include "server/pull_watch.h"
#include "server/request.h"
#include "server/worker_pool.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    REMOTE_SIZE = 64,
    FILES_OPEN_MAX = 1024, /* being sent */
    HTTP_EXCESS_MAX = 32,  /* connections beyond a limit that are told so */
};

/* One open connection. Linked and unlinked under the set's lock. */
struct http_connection {
    struct http_connection *next;
    struct http_connection *previous;
    int fd;                        /* MHD's; open for as long as this is linked */
    _Atomic int64_t waiting_since; /* monotonic microseconds; 0 while a request is handled */
    atomic_bool uploads;           /* a body is streamed: who sends it may go at any time */
    struct request *request;       /* that was begun and is not over; its loop's alone */
    bool is_excess;                /* beyond the limits: is told to come again */
    char remote[REMOTE_SIZE];      /* for the log: "127.0.0.1:4711", "unix" */
    struct peer peer;
};

/* All open connections, and the thread that ends those which take too long to send
 * their request. */
struct http_connections {
    size_t limit;         /* of all, and of one place: beyond them a few are answered 503, and */
    size_t place_limit;   /* more are closed at once */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct http_connection *first;
    size_t count;
    struct place_counts places;
    bool draining; /* one that opens now is shut like an idle one */
    bool stopping;
    pthread_t watcher;
};

void http_connections_start(struct http_connections *connections, size_t limit, size_t place_limit);
void http_connections_stop(struct http_connections *connections);
/* No more requests from connections that wait for one: `how` is SHUT_RD, to answer
 * what was sent already, or SHUT_RDWR. */
void http_connections_shut_idle(struct http_connections *connections, int how);
void http_connections_shut_all(struct http_connections *connections);
/* False when some are left after that time. */
[[nodiscard]] bool http_connections_wait_closed(struct http_connections *connections,
                                                unsigned timeout_ms);
void http_connection_notify(void *set, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code);
struct http_server;
/* A request is over: the connection waits for the next, or is shut when the server
 * drains, whose look at idle connections this one may just have missed. */
void http_connection_wait(struct http_server *server, struct http_connection *connection);
/* The connection's own record. */
[[nodiscard]] struct http_connection *http_connection_of(struct MHD_Connection *connection);

struct http_server {
    struct node *node;
    struct worker_pool *workers;
    struct worker_pool *long_workers; /* for what would keep the others from short work */
    struct worker_pool *file_workers; /* for what the blob directory's disk may hold up */
    struct worker_pool *both_workers; /* for what either may, that disk and PostgreSQL */
    struct file_sender *file_sender;
    atomic_uint files_open;      /* that are being sent */
    struct worker_pool *uploads; /* as many threads as uploads may run */
    atomic_uint uploads_running;
    pthread_mutex_t late_lock; /* of the loop that answers who waits too long, maybe others' */
    struct pull_watch *pull_watch;
    struct connector *connector;
    struct http_connections connections;
    atomic_bool ending; /* it is announced, and requests are still taken */
    atomic_bool draining;
    struct listener *listeners; /* the caller's */
    size_t listener_count;
    struct http_loop **loops; /* one a core */
    size_t loops_wanted;      /* set before the first of them runs */
    size_t loop_count;
    atomic_size_t connected_loops; /* to PostgreSQL */
};

/* Reads the headers into the request; fails with what makes the message ambiguous
 * (RFC 9112, 6.3), or with the fault of its request line, unless that is NULL. */
[[nodiscard]] bool http_headers_read(struct request *request, const char *line_fault,
                                     struct error *error);

/* MHD's callbacks, on the loop's thread; `loop` is the struct http_loop. */
void *http_request_new(void *loop, const char *target, struct MHD_Connection *connection);
enum MHD_Result http_request_step(void *loop, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context);
/* The request is over, and its loop is done with it: logs it as one that was broken off, counts it,
 * frees it. On the thread that was left with it. */
void http_request_over_elsewhere(struct request *request);
/* Answers 503 to those who have waited too long for a worker, though none takes them: all may be
 * held up. Any loop; one at a time does it for all. */
void http_request_answer_late(struct http_server *server);
/* After the handler of a route that changes images, or tells that they changed, before its answer
 * is sent: which is 503 instead, when only that was told and PostgreSQL cannot be asked what
 * changed. */
void http_request_forget_changes(struct request *request);

/* The end of a file that the request sends, if it does. */
void http_file_close(struct request *request);
/* All of it was, though libmicrohttpd may not know. */
[[nodiscard]] bool http_file_was_sent(const struct request *request);

/* A body that is streamed (route.body is BODY_STREAM). On the first call: starts its reader,
 * unless there are too many; no answer may be queued by it. */
[[nodiscard]] bool http_upload_begin(struct request *request, struct error *error);
enum MHD_Result http_upload_take(struct request *request, const char *bytes, size_t *size);
/* Is that type, which may be NULL, one of an archive's? */
[[nodiscard]] bool http_upload_check_type(const char *type, struct error *error);
/* The connection is done with the request. True: so is its reader, if there is one; else the
 * reader frees it. */
[[nodiscard]] bool http_upload_is_over(struct request *request);
/* All of it is here. True: the answer is, too; else the connection waits for it. */
[[nodiscard]] bool http_upload_end(struct request *request);

/* The request is answered, or its stream has more: its loop goes on with it. Any thread. */
void http_request_resume(struct request *request);
/* MHD forgets a request that it refuses itself, for headers that are too large: then its
 * connection frees it. NULL is fine. */
void http_request_free(struct request *request);
void http_request_completed(void *loop, struct MHD_Connection *connection, void **context,
                            enum MHD_RequestTerminationCode why);

#endif
