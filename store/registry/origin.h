/* Where a URL leads: scheme, host and port. What may go to whom is decided on these,
 * never on the text of a URL. Pure; any thread.
 */
#ifndef LARDER_STORE_REGISTRY_ORIGIN_H
#define LARDER_STORE_REGISTRY_ORIGIN_H

#include <stdbool.h>

enum { ORIGIN_HOST_SIZE = 256 };

struct origin {
    bool is_https;
    char host[ORIGIN_HOST_SIZE]; /* lower case; IPv6 in brackets */
    unsigned port;               /* the scheme's own when the URL has none */
};

/* False unless it is an http or https URL without a user name. */
[[nodiscard]] bool origin_parse(const char *url, struct origin *origin);

[[nodiscard]] bool origin_equal(const struct origin *one, const struct origin *other);

/* Is it of the same owner, as far as names tell: the same host, or another one below the
 * same registered domain, by the Public Suffix List (auth.docker.io and
 * registry-1.docker.io; not two names below co.uk or github.io). Addresses and names
 * without a domain are only ever their own. */
[[nodiscard]] bool origin_same_domain(const struct origin *one, const struct origin *other);

/* localhost, 127.0.0.0/8 and [::1]; `host` without port. */
[[nodiscard]] bool origin_host_is_loopback(const char *host);

#endif
