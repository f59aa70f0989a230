#include "store/registry/reach.h"

#include "store/registry/address.h"
#include "store/registry/proxy.h"

#include <errno.h>
#include <string.h>

static bool may_reach(struct reach *reach, enum address_kind kind)
{
    bool may = kind == ADDRESS_PUBLIC || reach->may_any ||
               (kind == ADDRESS_LOOPBACK && reach->may_loopback);
    reach->was_refused = reach->was_refused || !may;
    return may;
}

struct reach reach_of(const struct registry_client *client, const char *registry,
                      const struct origin *origin)
{
    struct reach reach = {
        .may_any = registry_is_named(client, origin),
        .may_loopback = !client->loopback_must_be_named && origin_host_is_loopback(origin->host) &&
                        registry_is_loopback(registry),
        .proxy = proxy_of(origin),
    };
    (void)may_reach(&reach, address_kind_of_host(origin->host));
    return reach;
}

/* libcurl wants a socket for an address that it is about to connect to. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct reach *reach = context;
    (void)purpose;
    if (!reach->proxy && !may_reach(reach, address_kind(&address->addr)))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The request is about to be sent, perhaps over a connection that another one opened. */
static int before_request(void *context, char *address, char *own_address, int port, int own_port)
{
    struct reach *reach = context;
    (void)own_address, (void)port, (void)own_port;
    return reach->proxy || may_reach(reach, address_kind_of_host(address)) ? CURL_PREREQFUNC_OK
                                                                           : CURL_PREREQFUNC_ABORT;
}

bool reach_guard(struct reach *reach, CURL *handle, struct error *error)
{
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, reach);
    curl_easy_setopt(handle, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(handle, CURLOPT_PREREQDATA, reach);
    return proxy_use(reach->proxy, handle, error);
}

/* The address itself is left out: who asks for a pull need not learn what a name means
 * inside. */
bool reach_refused(const struct origin *origin, struct error *error)
{
    return error_set(error, ERROR_REGISTRY_NOT_ALLOWED,
                     "%s:%u is at a loopback, link-local or private address, where nothing is "
                     "fetched from unless --allow-registry or --insecure-registry names that host",
                     origin->host, origin->port);
}
