/* The other end of a connection, as far as the kernel tells. Found once, when it opens. */
#ifndef LARDER_SERVER_PEER_H
#define LARDER_SERVER_PEER_H

#include "server/identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct peer {
    bool is_unix;
    bool uid_is_known; /* of a unix socket's peer */
    uid_t uid;
    /* What counts as one place: an IPv4 address, or an IPv6 network of 64 bits, which is
     * what one machine may have to itself; or a user of this machine, but not root and our own. */
    uint8_t place[8];
    size_t place_size;
    int64_t certificate_read_us; /* when the next was last looked at; 0: never */
    unsigned certificate_generation;
    char certificate_name[IDENTITY_NAME_SIZE]; /* of tls.h; "" when there is none */
};

/* A connection may be kept for longer than its certificate is good, or the authority that signed
 * it: both are looked at again after each reload, whose number is `generation`, and every minute.
 */
[[nodiscard]] bool peer_certificate_is_due(const struct peer *peer, unsigned generation,
                                           int64_t now_us);

/* `address` may be NULL: then it is a unix socket. */
void peer_find(int fd, const struct sockaddr *address, struct peer *peer);

#endif
