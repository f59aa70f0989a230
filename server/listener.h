/* Listening sockets: `host:port` (port 0 picks a free one) and `unix:/path`. */
#ifndef LARDER_SERVER_LISTENER_H
#define LARDER_SERVER_LISTENER_H

#include "store/error.h"

#include <stdbool.h>

enum { LISTENER_URL_SIZE = 160 };

/* What is the same for all of a node's listeners. */
struct listener_options {
    bool uses_tls;      /* but on unix sockets */
    bool lets_users_in; /* any user may connect to a unix socket, and is judged then */
};

struct listener {
    int fd;                      /* owned; -1 once it is handed on or closed */
    bool is_private;             /* loopback or a unix socket */
    bool uses_tls;               /* never a unix socket */
    char url[LISTENER_URL_SIZE]; /* "http://127.0.0.1:8420", "unix:/path" */
};

/* Fails with ERROR_INVALID_ARGUMENT for an address that cannot be meant, with
 * ERROR_INTERNAL for one that cannot be had. A socket file that nobody serves any
 * more is replaced. */
[[nodiscard]] bool listener_open(const char *address, const struct listener_options *options,
                                 struct listener *listener, struct error *error);

/* Another socket on the same address, so that the kernel spreads connections over both
 * (SO_REUSEPORT); -1 where that cannot be: then the first must be shared. */
[[nodiscard]] int listener_open_twin(const struct listener *listener);

/* Closes, and unlinks a unix socket. */
void listener_close(struct listener *listener);

#endif
