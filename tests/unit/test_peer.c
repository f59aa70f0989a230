#include "server/peer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

static struct peer peer_at(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1)};
    struct peer peer;
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        peer_find(-1, (const struct sockaddr *)&in, &peer);
    } else {
        cr_assert_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
        peer_find(-1, (const struct sockaddr *)&in6, &peer);
    }
    return peer;
}

static bool are_one_place(const char *one, const char *other)
{
    struct peer first = peer_at(one), second = peer_at(other);
    return first.place_size == second.place_size &&
           memcmp(first.place, second.place, first.place_size) == 0;
}

Test(peer, an_ipv4_address_is_a_place)
{
    cr_expect(are_one_place("192.0.2.1", "192.0.2.1"));
    cr_expect_not(are_one_place("192.0.2.1", "192.0.2.2"));
    cr_expect_not(peer_at("192.0.2.1").is_unix);
}

Test(peer, a_network_of_64_bits_is_one_place_whatever_address_of_it_asks)
{
    cr_expect(are_one_place("2001:db8:0:7::1", "2001:db8:0:7:ffff:ffff:ffff:ffff"));
    cr_expect_not(are_one_place("2001:db8:0:7::1", "2001:db8:0:8::1"));
    cr_expect_not(are_one_place("2001:db8::1", "192.0.2.1"));
    cr_expect_not(peer_at("2001:db8::1").is_unix);
}

Test(peer, an_ipv4_address_within_ipv6_is_that_address)
{
    cr_expect(are_one_place("::ffff:192.0.2.1", "192.0.2.1"));
    cr_expect_not(are_one_place("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
}

Test(peer, a_certificate_is_looked_at_again_after_a_reload_and_every_minute)
{
    const int64_t minute_us = 60 * 1000 * 1000;
    struct peer peer = peer_at("192.0.2.1");
    cr_expect(peer_certificate_is_due(&peer, 7, 5), "it was never looked at");
    peer.certificate_read_us = 5;
    peer.certificate_generation = 7;
    cr_expect_not(peer_certificate_is_due(&peer, 7, 4 + minute_us));
    cr_expect(peer_certificate_is_due(&peer, 7, 5 + minute_us));
    cr_expect(peer_certificate_is_due(&peer, 8, 6));
}
