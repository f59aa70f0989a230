/* One event loop: a thread, its epoll, and a libmicrohttpd daemon for each address.
 *
 * A connection stays on the loop that accepted it. Everything of libmicrohttpd happens on
 * its loop's thread; other threads hand a request back through the loop's inbox. TCP
 * sockets are the loop's own (SO_REUSEPORT: the kernel spreads connections), unix sockets
 * are shared by all loops. The same thread drives the loop's reader, which asks PostgreSQL.
 * For server/http_*.c alone.
 */
#ifndef LARDER_SERVER_HTTP_LOOP_H
#define LARDER_SERVER_HTTP_LOOP_H

#include "server/listener.h"
#include "store/error.h"

#include <stddef.h>

struct http_loop;
struct http_server;
struct json_writer;
struct pipeline_connection;
struct reader;
struct request;

/* Listens on all of the server's addresses. The first loop takes the listeners' own
 * sockets, the others open theirs beside it. */
[[nodiscard]] struct http_loop *http_loop_start(struct http_server *server, bool is_first,
                                                struct error *error);

[[nodiscard]] struct http_server *http_loop_server(const struct http_loop *loop);
[[nodiscard]] struct reader *http_loop_reader(const struct http_loop *loop);

/* A zeroed request whose arena is empty; given back, it may be handed out again, so that a
 * request costs no allocation of its own. On the loop's thread, or after its end. */
[[nodiscard]] struct request *http_loop_take_request(struct http_loop *loop);
void http_loop_give_request(struct http_loop *loop, struct request *request);
/* Frees it instead. Any thread. */
void http_loop_discard_request(struct request *request);

/* Where the lines of its requests gather for the log; on the loop's thread. */
[[nodiscard]] struct json_writer *http_loop_log(struct http_loop *loop);
/* A request's id when the client gave none: 32 hex digits, unique, no secret. On the loop's
 * thread. */
void http_loop_new_id(struct http_loop *loop, char id[33]);

/* A suspended request has its answer, or more of it: the loop goes on with it. Any thread. */
void http_loop_resume(struct http_loop *loop, struct request *request);

/* The connection to PostgreSQL that the loop asked the server's connector for; takes it.
 * Any thread. */
void http_loop_connect(struct http_loop *loop, struct pipeline_connection *connection);

/* Takes no more connections; waits until that is so. */
void http_loop_quiesce(struct http_loop *loop);

/* Ends the thread and frees. No request may be with another thread any more. NULL is
 * fine. */
void http_loop_stop(struct http_loop *loop);

#endif
