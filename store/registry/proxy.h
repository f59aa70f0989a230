/* Which proxy leads to a host, by the environment, as curl reads it: $https_proxy,
 * $HTTPS_PROXY, $http_proxy (only so), $all_proxy, $ALL_PROXY, and $no_proxy or $NO_PROXY.
 * Decided here and not by libcurl, because what an address means depends on it: the
 * address that is connected to is then the proxy's.
 */
#ifndef LARDER_STORE_REGISTRY_PROXY_H
#define LARDER_STORE_REGISTRY_PROXY_H

#include "store/error.h"
#include "store/registry/origin.h"

#include <curl/curl.h>

/* The proxy's URL, in the environment; NULL: none, as always for loopback. */
[[nodiscard]] const char *proxy_of(const struct origin *origin);

/* Has the handle go by that proxy; NULL: by none. Its login is handed over apart, so that no word
 * of libcurl's holds it, and names are the proxy's to resolve, with SOCKS too. Fails with
 * ERROR_PULL_FAILED, which quotes nothing. */
[[nodiscard]] bool proxy_use(const char *proxy, CURL *handle, struct error *error);

/* Is the host among the words of a no_proxy: a name and what is below it, an address, a
 * network (`10.0.0.0/8`), or `*`? `host` as in an origin. */
[[nodiscard]] bool proxy_is_left_out(const char *host, const char *no_proxy);

#endif
