/* Requests that a browser makes for the page of another site: a node on loopback, or one
 * that knows an admin's browser by its address, must not be pruned by a web page that the
 * admin happens to look at. */
#ifndef LARDER_SERVER_CROSS_SITE_H
#define LARDER_SERVER_CROSS_SITE_H

#include "server/request.h"

/* ERROR_FORBIDDEN for what is neither GET nor HEAD and comes from elsewhere: as
 * Sec-Fetch-Site says (Fetch Metadata), or else Origin (RFC 6454), which then must be the
 * request's own Host. What is no browser sends neither. */
[[nodiscard]] bool cross_site_check(const struct request *request, struct error *error);

/* For a node that takes whoever reaches it for an admin, because only this machine's users do.
 * ERROR_FORBIDDEN when Host is a name that anybody may have given this machine's address to (DNS
 * rebinding): a browser takes the node for that name's site then, and its pages may ask and read as
 * they like. Addresses, names without a dot and those below .localhost (RFC 6761, 6.3) are not to
 * be had by anybody far away. */
[[nodiscard]] bool cross_site_check_host(const struct request *request, struct error *error);

#endif
