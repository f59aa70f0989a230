/* The servers that a conninfo names, one at a time, in the order in which they are worth a try.
 *
 * libpq would try them as they stand, each time. The primary, once it is found, comes first. One
 * that hangs, or fell off the network, costs whoever tries it its whole connect_timeout, and
 * meanwhile another one may have taken its place: so it is tried last, and where there is a
 * heartbeat, by nobody else, until it gives a sign of life to anyone. A server is named by its
 * place in the conninfo, from 0. Any thread.
 */
#ifndef LARDER_STORE_CATALOGUE_SERVERS_H
#define LARDER_STORE_CATALOGUE_SERVERS_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct servers;

/* A conninfo that names one server and no other, for PQconnectdbParams(). */
struct server_conninfo {
    const char *keywords[64];
    const char *values[64];
    size_t count;
};

enum { SERVERS_MAX = 64 };

/* One walk past the servers; {.is_heartbeat = …} begins it. */
struct servers_walk {
    bool is_heartbeat;
    size_t server;   /* that is tried now */
    size_t left_out; /* to the heartbeat */
    /* of servers_next() */
    size_t first;
    size_t turn;
    uint64_t tried; /* bits */
};

/* Of a URI or keyword string, and what the environment says of hosts and ports. Servers that a
 * service file names are libpq's to try, as one. NULL with the error. */
[[nodiscard]] struct servers *servers_new(const char *conninfo, struct error *error);
void servers_free(struct servers *servers);
/* There is somebody now who asks all the time, and walks as the heartbeat; or not any more. */
void servers_have_heartbeat(struct servers *servers, bool is_there);

/* False when there is none left to try. Adds to the conninfo, with texts that live as long as the
 * servers. */
[[nodiscard]] bool servers_next(struct servers *servers, struct servers_walk *walk,
                                struct server_conninfo *conninfo);
void server_conninfo_add(struct server_conninfo *conninfo, const char *keyword, const char *value);

/* It took no connection, or gave no answer, in time; that is forgotten after half a minute, when a
 * heartbeat that needs it has found out again. Of one that stands alone nothing follows. */
void servers_hangs(struct servers *servers, size_t server);
/* It said something, be it no. Costs next to nothing. */
void servers_answers(struct servers *servers, size_t server);
/* It took a connection, and is the primary. */
void servers_put_first(struct servers *servers, size_t server);

/* It hangs, and another one was found to be the primary meanwhile. */
[[nodiscard]] bool servers_is_replaced(const struct servers *servers, size_t server);

/* Connections that were made until now may be to another primary than today's. */
void servers_distrust(struct servers *servers);
/* How often that was said so far. */
unsigned servers_distrusts(const struct servers *servers);

#endif
