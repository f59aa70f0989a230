#include "store/registry/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

struct row {
    const char *host;
    enum address_kind kind;
};

static const struct row rows[] = {
    {"127.0.0.1", ADDRESS_LOOPBACK},
    {"127.255.255.254", ADDRESS_LOOPBACK},
    {"::1", ADDRESS_LOOPBACK},
    {"::ffff:127.0.0.1", ADDRESS_LOOPBACK},
    {"64:ff9b::127.0.0.1", ADDRESS_LOOPBACK},
    {"2002:7f00:1::", ADDRESS_LOOPBACK},
    {"0.0.0.0", ADDRESS_PRIVATE},
    {"0.1.2.3", ADDRESS_PRIVATE},
    {"10.0.0.1", ADDRESS_PRIVATE},
    {"100.64.0.1", ADDRESS_PRIVATE},
    {"100.127.255.255", ADDRESS_PRIVATE},
    {"169.254.169.254", ADDRESS_PRIVATE},
    {"172.16.0.1", ADDRESS_PRIVATE},
    {"172.31.255.255", ADDRESS_PRIVATE},
    {"192.168.1.1", ADDRESS_PRIVATE},
    {"192.0.0.170", ADDRESS_PRIVATE},
    {"198.19.0.1", ADDRESS_PRIVATE},
    {"224.0.0.1", ADDRESS_PRIVATE},
    {"240.0.0.1", ADDRESS_PRIVATE},
    {"255.255.255.255", ADDRESS_PRIVATE},
    {"::", ADDRESS_PRIVATE},
    {"::127.0.0.1", ADDRESS_PRIVATE},
    {"::ffff:169.254.169.254", ADDRESS_PRIVATE},
    {"64:ff9b::10.0.0.1", ADDRESS_PRIVATE},
    {"64:ff9b:1::1", ADDRESS_PRIVATE},
    {"2001::1", ADDRESS_PRIVATE},
    {"2002:a9fe:a9fe::1", ADDRESS_PRIVATE},
    {"2001:db8::1", ADDRESS_PRIVATE},
    {"fc00::1", ADDRESS_PRIVATE},
    {"fd00:ec2::254", ADDRESS_PRIVATE},
    {"fe80::1", ADDRESS_PRIVATE},
    {"fec0::1", ADDRESS_PRIVATE},
    {"ff02::1", ADDRESS_PRIVATE},
    {"1.1.1.1", ADDRESS_PUBLIC},
    {"9.255.255.255", ADDRESS_PUBLIC},
    {"11.0.0.0", ADDRESS_PUBLIC},
    {"100.63.255.255", ADDRESS_PUBLIC},
    {"100.128.0.0", ADDRESS_PUBLIC},
    {"126.255.255.255", ADDRESS_PUBLIC},
    {"128.0.0.1", ADDRESS_PUBLIC},
    {"172.15.255.255", ADDRESS_PUBLIC},
    {"172.32.0.0", ADDRESS_PUBLIC},
    {"223.255.255.255", ADDRESS_PUBLIC},
    {"2606:4700::1", ADDRESS_PUBLIC},
    {"2a00:1450::1", ADDRESS_PUBLIC},
    {"2002:101:101::1", ADDRESS_PUBLIC},
    {"::ffff:1.1.1.1", ADDRESS_PUBLIC},
};
enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static enum address_kind kind_of(const char *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, host, &in.sin_addr) == 1)
        return address_kind((const struct sockaddr *)&in);
    cr_assert_eq(inet_pton(AF_INET6, host, &in6.sin6_addr), 1, "%s", host);
    return address_kind((const struct sockaddr *)&in6);
}

Test(address, only_what_the_whole_internet_can_reach_is_public)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        cr_expect_eq(kind_of(rows[i].host), rows[i].kind, "%s is %d", rows[i].host,
                     kind_of(rows[i].host));
}

Test(address, an_address_as_text_is_judged_like_the_address)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        cr_expect_eq(address_kind_of_host(rows[i].host), rows[i].kind, "%s", rows[i].host);
    cr_expect_eq(address_kind_of_host("[::1]"), ADDRESS_LOOPBACK);
    cr_expect_eq(address_kind_of_host("[fe80::1%eth0]"), ADDRESS_PRIVATE);
}

Test(address, a_name_says_nothing)
{
    cr_expect_eq(address_kind_of_host("localhost"), ADDRESS_PUBLIC);
    cr_expect_eq(address_kind_of_host("registry.example.com"), ADDRESS_PUBLIC);
    cr_expect_eq(address_kind_of_host(""), ADDRESS_PUBLIC);
}

Test(address, what_is_no_ip_address_is_not_public)
{
    struct sockaddr address = {.sa_family = AF_UNIX};
    cr_expect_eq(address_kind(&address), ADDRESS_PRIVATE);
}
