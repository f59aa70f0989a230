#include "store/registry/origin.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(origin, a_url_is_read_as_scheme_host_and_port)
{
    static const struct {
        const char *url;
        struct origin origin;
    } rows[] = {
        {"https://Registry.Example.com/v2/?x=1#y", {true, "registry.example.com", 443}},
        {"http://localhost:5000", {false, "localhost", 5000}},
        {"https://[::1]:8443/token", {true, "[::1]", 8443}},
        {"HTTPS://a.b", {true, "a.b", 443}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct origin origin;
        cr_assert(origin_parse(rows[i].url, &origin), "%s", rows[i].url);
        cr_expect(origin_equal(&origin, &rows[i].origin), "%s is %s:%u", rows[i].url, origin.host,
                  origin.port);
    }
}

Test(origin, what_is_no_http_url_or_names_a_user_is_refused)
{
    static const char *const bad[] = {
        "",           "registry",         "/token",   "ftp://a.b/",
        "file:///x",  "https://u@a.b/",   "http://",  "https://u:p@a.b/",
        "gopher://a", "javascript:alert", "https://:"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct origin origin;
        cr_expect_not(origin_parse(bad[i], &origin), "%s", bad[i]);
    }
}

struct pair {
    const char *one;
    const char *other;
};

static bool same_domain(struct pair hosts)
{
    struct origin one = {.is_https = true, .port = 443};
    struct origin other = one;
    snprintf(one.host, sizeof(one.host), "%s", hosts.one);
    snprintf(other.host, sizeof(other.host), "%s", hosts.other);
    return origin_same_domain(&one, &other) && origin_same_domain(&other, &one);
}

Test(origin, hosts_below_one_registered_domain_have_one_owner)
{
    static const struct pair rows[] = {
        {"registry-1.docker.io", "auth.docker.io"},
        {"registry.gitlab.com", "gitlab.com"},
        {"registry.corp.co.uk", "login.corp.co.uk"},
        {"a.b.example.test", "example.test"},
        {"127.0.0.1", "127.0.0.1"},
        {"registry", "registry"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect(same_domain(rows[i]), "%s and %s", rows[i].one, rows[i].other);
}

Test(origin, hosts_that_share_no_more_than_a_public_suffix_are_strangers)
{
    static const struct pair rows[] = {
        {"registry.com", "evil.com"},
        {"registry.co.uk", "evil.co.uk"},
        {"victim.github.io", "evil.github.io"},
        {"registry.example.com", "registry.example.com.evil.org"},
        {"example.com", "notexample.com"},
        {"com", "evil.com"},
        {"co.uk", "registry.co.uk"},
        {"registry", "auth"},
        {"10.0.0.1", "11.0.0.1"},
        {"10.0.0.1", "10.0.0.2"},
        {"[fd00::1]", "[fd00::2]"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_not(same_domain(rows[i]), "%s and %s", rows[i].one, rows[i].other);
}
