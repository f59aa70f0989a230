/* The servers that a conninfo names, in the order in which they are worth a try.
 *
 * libpq tries them as they stand, each time. One that hangs still has a kernel that accepts
 * connections, and would cost every new one its whole connect_timeout: it comes last from then on,
 * until another one hangs. The primary, once it is found, comes first. Any thread.
 */
#ifndef LARDER_STORE_CATALOGUE_SERVERS_H
#define LARDER_STORE_CATALOGUE_SERVERS_H

#include "store/cleanup.h"

struct servers;

/* What libpq is given beside the conninfo; NULL: as the conninfo says. Freed with
 * servers_order_end(). */
struct servers_order {
    char *host;
    char *hostaddr;
    char *port;
};

/* Of a conninfo that libpq can parse. */
struct servers *servers_new(const char *conninfo);
void servers_free(struct servers *servers);

void servers_order(struct servers *servers, struct servers_order *order);
void servers_order_end(struct servers_order *order);
#define cleanup_servers_order cleanup(servers_order_end)

/* This one (PQhost(), PQport()) did not answer in time. */
void servers_put_last(struct servers *servers, const char *host, const char *port);
/* This one took a connection, and is the primary. */
void servers_put_first(struct servers *servers, const char *host, const char *port);

/* Connections that were made until now may be to another primary than today's. */
void servers_distrust(struct servers *servers);
/* How often that was said so far. */
unsigned servers_distrusts(const struct servers *servers);

#endif
