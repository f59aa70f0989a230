/* Which addresses a request may connect to. A public registry must not lead a node, by a
 * redirect, a token realm or its name's records, to what is only the node's to reach: its
 * own services, a cloud's metadata, the inside of a network. What counts is the address
 * that is connected to, when it is: a name may mean another one a moment later.
 *
 * Any address: hosts that the operator named (registry_is_named()). Loopback besides: a
 * host that is loopback by its own name, for a registry that is so too, where all who may ask are
 * on this machine anyway. All else: public addresses only. Through a proxy the proxy resolves
 * names, so that only addresses in the URL itself are judged.
 */
#ifndef LARDER_STORE_REGISTRY_REACH_H
#define LARDER_STORE_REGISTRY_REACH_H

#include "store/registry/registry_internal.h"

struct reach {
    bool may_any;
    bool may_loopback;
    const char *proxy; /* in the environment; NULL: none */
    bool was_refused;  /* an address that it must not reach was met */
};

/* Of a request to `origin` for the sake of `registry` (canonical). */
[[nodiscard]] struct reach reach_of(const struct registry_client *client, const char *registry,
                                    const struct origin *origin);

/* Makes the handle go by the proxy, and ask before each connection and, since those are kept,
 * before each request. Not for a reach that was refused already. Fails with ERROR_PULL_FAILED when
 * the proxy cannot be used. */
[[nodiscard]] bool reach_guard(struct reach *reach, CURL *handle, struct error *error);

/* Sets ERROR_REGISTRY_NOT_ALLOWED; returns false. */
bool reach_refused(const struct origin *origin, struct error *error);

#endif
