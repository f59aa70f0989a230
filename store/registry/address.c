#include "store/registry/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct range4 {
    uint32_t network;
    unsigned bits;
    enum address_kind kind;
};

static const struct range4 ranges4[] = {
    {0x7f000000, 8, ADDRESS_LOOPBACK}, /* 127.0.0.0 */
    {0x00000000, 8, ADDRESS_PRIVATE},  /* 0.0.0.0, which Linux takes for this machine */
    {0x0a000000, 8, ADDRESS_PRIVATE},  /* 10.0.0.0 */
    {0x64400000, 10, ADDRESS_PRIVATE}, /* 100.64.0.0, carriers' NAT */
    {0xa9fe0000, 16, ADDRESS_PRIVATE}, /* 169.254.0.0, link-local and clouds' metadata */
    {0xac100000, 12, ADDRESS_PRIVATE}, /* 172.16.0.0 */
    {0xc0000000, 24, ADDRESS_PRIVATE}, /* 192.0.0.0, protocol assignments */
    {0xc0000200, 24, ADDRESS_PRIVATE}, /* 192.0.2.0, documentation */
    {0xc0a80000, 16, ADDRESS_PRIVATE}, /* 192.168.0.0 */
    {0xc6120000, 15, ADDRESS_PRIVATE}, /* 198.18.0.0, benchmarks */
    {0xc6336400, 24, ADDRESS_PRIVATE}, /* 198.51.100.0, documentation */
    {0xcb007100, 24, ADDRESS_PRIVATE}, /* 203.0.113.0, documentation */
    {0xe0000000, 3, ADDRESS_PRIVATE},  /* 224.0.0.0 to 255.255.255.255: multicast, reserved */
};

static enum address_kind kind4(uint32_t address)
{
    for (size_t i = 0; i < sizeof(ranges4) / sizeof(ranges4[0]); i++)
        if ((address ^ ranges4[i].network) >> (32 - ranges4[i].bits) == 0)
            return ranges4[i].kind;
    return ADDRESS_PUBLIC;
}

static bool has_prefix(const struct in6_addr *address, const char *network, unsigned bits)
{
    struct in6_addr prefix;
    if (inet_pton(AF_INET6, network, &prefix) != 1)
        return false;
    unsigned bytes = bits / 8;
    unsigned rest = bits % 8;
    return memcmp(address, &prefix, bytes) == 0 &&
           (rest == 0 || (address->s6_addr[bytes] ^ prefix.s6_addr[bytes]) >> (8 - rest) == 0);
}

static uint32_t embedded(const struct in6_addr *address, size_t offset)
{
    uint32_t inner;
    memcpy(&inner, address->s6_addr + offset, sizeof(inner));
    return ntohl(inner);
}

static enum address_kind kind6(const struct in6_addr *address)
{
    if (IN6_IS_ADDR_LOOPBACK(address))
        return ADDRESS_LOOPBACK;
    if (IN6_IS_ADDR_V4MAPPED(address) || has_prefix(address, "64:ff9b::", 96))
        return kind4(embedded(address, 12)); /* NAT64 leads to the IPv4 address */
    if (has_prefix(address, "2002::", 16))
        return kind4(embedded(address, 2)); /* 6to4 */
    /* 2000::/3 is all that is handed out. */
    bool is_global = has_prefix(address, "2000::", 3) && !has_prefix(address, "2001::", 23) &&
                     !has_prefix(address, "2001:db8::", 32) && !has_prefix(address, "3fff::", 20);
    return is_global ? ADDRESS_PUBLIC : ADDRESS_PRIVATE;
}

enum address_kind address_kind(const struct sockaddr *address)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    switch (address->sa_family) {
    case AF_INET:
        memcpy(&in, address, sizeof(in));
        return kind4(ntohl(in.sin_addr.s_addr));
    case AF_INET6:
        memcpy(&in6, address, sizeof(in6));
        return kind6(&in6.sin6_addr);
    default:
        return ADDRESS_PRIVATE;
    }
}

enum address_kind address_kind_of_host(const char *host)
{
    struct in_addr in;
    struct in6_addr in6;
    char bare[INET6_ADDRSTRLEN + 1];
    if (inet_pton(AF_INET, host, &in) == 1)
        return kind4(ntohl(in.s_addr));
    if (host[0] == '[')
        host++;
    /* A zone (`fe80::1%eth0`) is no part of the address. */
    snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(host, "]%"), host);
    return inet_pton(AF_INET6, bare, &in6) == 1 ? kind6(&in6) : ADDRESS_PUBLIC;
}
