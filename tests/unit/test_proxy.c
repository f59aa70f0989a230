#include "store/registry/proxy.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(proxy, hosts_and_networks_are_left_out_as_curl_does_it)
{
    static const struct {
        const char *host;
        const char *no_proxy;
        bool left_out;
    } rows[] = {
        {"registry.example.com", "example.com", true},
        {"registry.example.com", ".example.com", true},
        {"registry.example.com", "other.org, EXAMPLE.com", true},
        {"example.com", ".example.com", true},
        {"registry.example.com", "*", true},
        {"10.1.2.3", "10.0.0.0/8", true},
        {"10.1.2.3", "10.1.2.3", true},
        {"[fd00::1]", "fd00::/8", true},
        {"[fd00::1]", "[fd00::1]", true},
        {"registry.example.com", "", false},
        {"registry.example.com", ".", false},
        {"registry.example.com", "ample.com", false},
        {"registry.example.com", "registry.example.com.org", false},
        {"registry.example.com", "*.example.com", false},
        {"11.1.2.3", "10.0.0.0/8", false},
        {"10.1.2.3", "10.0.0.0/33", false},
        {"10.1.2.3", "11.0.0.0/", false},
        {"10.1.2.3", "11.0.0.0/ 0", false},
        {"10.1.2.3", "10.0.0.0/8x", false},
        {"10.1.2.3", "2.3", false},
        {"[fd00::1]", "10.0.0.0/8", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(proxy_is_left_out(rows[i].host, rows[i].no_proxy), rows[i].left_out,
                     "%s by \"%s\"", rows[i].host, rows[i].no_proxy);
}

static void clear_environment(void)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY",
                                        "all_proxy",   "ALL_PROXY",   "no_proxy",   "NO_PROXY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

Test(proxy, the_environment_names_it_but_never_for_loopback, .init = clear_environment)
{
    const struct origin https = {true, "registry.example.com", 443};
    const struct origin http = {false, "registry.example.com", 80};
    const struct origin loopback = {false, "127.0.0.1", 5000};
    cr_expect_null(proxy_of(&https));
    setenv("HTTP_PROXY", "http://cgi", 1);
    cr_expect_null(proxy_of(&http));
    setenv("ALL_PROXY", "http://all", 1);
    setenv("https_proxy", "http://tls", 1);
    cr_expect_str_eq(proxy_of(&https), "http://tls");
    cr_expect_str_eq(proxy_of(&http), "http://all");
    cr_expect_null(proxy_of(&loopback));
    setenv("no_proxy", "example.com", 1);
    cr_expect_null(proxy_of(&https));
}
