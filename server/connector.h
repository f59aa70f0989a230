/* Makes the event loops' connections to PostgreSQL, on a thread of its own, for connecting
 * blocks. Between tries it waits longer and longer, up to half a second, by chance more or less:
 * when PostgreSQL comes back, not all nodes are there at once. */
#ifndef LARDER_SERVER_CONNECTOR_H
#define LARDER_SERVER_CONNECTOR_H

#include "server/http_loop.h"
#include "server/node.h"

struct connector;

[[nodiscard]] struct connector *connector_start(struct node *node, struct error *error);

/* The loop gets a connection as soon as there is one (http_loop_connect()). Any thread. */
void connector_ask(struct connector *connector, struct http_loop *loop);

/* No loop gets any more. NULL is fine. */
void connector_stop(struct connector *connector);

#endif
