/* What kind of place an IP address is: whether a registry that nobody named may be there.
 * By the special-purpose registries of IANA (RFC 6890) as of 2024, and the IPv4 address
 * inside those of IPv6 that carry one. Pure; any thread.
 */
#ifndef LARDER_STORE_REGISTRY_ADDRESS_H
#define LARDER_STORE_REGISTRY_ADDRESS_H

#include <sys/socket.h>

enum address_kind {
    ADDRESS_PUBLIC,
    ADDRESS_LOOPBACK, /* 127.0.0.0/8, ::1 */
    ADDRESS_PRIVATE,  /* private, link-local, multicast, reserved; also no IP address at all */
};

[[nodiscard]] enum address_kind address_kind(const struct sockaddr *address);

/* Of an address as text, an IPv6 one with or without brackets; ADDRESS_PUBLIC for a name,
 * which says nothing before it is resolved. */
[[nodiscard]] enum address_kind address_kind_of_host(const char *host);

#endif
