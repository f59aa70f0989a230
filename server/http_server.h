/* The HTTP server: libmicrohttpd's event loops over our listening sockets, and a
 * bounded pool of workers for whatever may block.
 *
 * A request is read on its event loop. A handler that may block runs on a worker
 * while its connection is suspended; then the loop sends what it answered.
 */
#ifndef LARDER_SERVER_HTTP_SERVER_H
#define LARDER_SERVER_HTTP_SERVER_H

#include "server/listener.h"
#include "store/error.h"

#include <stddef.h>

struct http_server;
struct node;
struct request;

/* Serves the node on the listeners, which must outlive it. */
[[nodiscard]] struct http_server *http_server_start(struct node *node, struct listener *listeners,
                                                    size_t listener_count, struct error *error);

/* From now on it says that it is not ready, and goes on serving: who spreads requests over
 * the nodes has time to notice. */
void http_server_announce_end(struct http_server *server);

/* Takes no more connections, finishes what runs within ten seconds, closes the
 * rest, frees. NULL is fine. */
void http_server_stop(struct http_server *server);

/* Whether it takes requests, and whether each loop has its connection to the catalogue; else why
 * not. Any thread. */
[[nodiscard]] bool http_server_takes_requests(const struct http_server *server,
                                              struct error *error);
[[nodiscard]] bool http_server_is_connected(const struct http_server *server, struct error *error);

/* Suspends the connection of a request whose stream has nothing to send, until the
 * pull watch has looked and found something. From the stream's reader only. */
void http_request_watch(struct request *request);

#endif
