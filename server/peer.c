#include "server/peer.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

enum { CERTIFICATE_AGE_MAX_US = 60 * 1000 * 1000 };

static void keep_place(struct peer *peer, const void *bytes, size_t size)
{
    memcpy(peer->place, bytes, size);
    peer->place_size = size;
}

static void take_ipv6(struct peer *peer, const struct sockaddr *address)
{
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof(in6));
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        keep_place(peer, in6.sin6_addr.s6_addr + 12, 4);
    else
        keep_place(peer, in6.sin6_addr.s6_addr, 8);
}

static void take_ipv4(struct peer *peer, const struct sockaddr *address)
{
    struct sockaddr_in in;
    memcpy(&in, address, sizeof(in));
    keep_place(peer, &in.sin_addr, 4);
}

/* Longer than an address, so that it is none. */
static void take_user(struct peer *peer)
{
    uint8_t place[5] = {'u'};
    memcpy(place + 1, &peer->uid, 4);
    keep_place(peer, place, sizeof(place));
}

bool peer_certificate_is_due(const struct peer *peer, unsigned generation, int64_t now_us)
{
    return peer->certificate_read_us == 0 || peer->certificate_generation != generation ||
           now_us - peer->certificate_read_us >= CERTIFICATE_AGE_MAX_US;
}

void peer_find(int fd, const struct sockaddr *address, struct peer *peer)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    *peer = (struct peer){0};
    if (address && address->sa_family == AF_INET) {
        take_ipv4(peer, address);
        return;
    }
    if (address && address->sa_family == AF_INET6) {
        take_ipv6(peer, address);
        return;
    }
    peer->is_unix = true;
    peer->uid_is_known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 &&
                         size == sizeof(credentials);
    if (!peer->uid_is_known)
        return;
    peer->uid = credentials.uid;
    if (peer->uid != 0 && peer->uid != geteuid())
        take_user(peer);
}
