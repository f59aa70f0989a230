#include "server/cross_site.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { NAME_SIZE = 253 + 1 }; /* of DNS */

static bool is_read(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* `http://host:port` names the same host and port as the header Host. */
static bool is_own_origin(const char *origin, const char *host)
{
    const char *authority = strstr(origin, "://");
    return host && authority && strcasecmp(authority + 3, host) == 0;
}

bool cross_site_check(const struct request *request, struct error *error)
{
    const struct request_headers *headers = &request->headers;
    const char *site = headers->fetch_site;
    bool is_own = true;
    if (site)
        is_own = strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
    else if (headers->origin)
        is_own = is_own_origin(headers->origin, headers->host);
    return is_own || is_read(request->method) ||
           error_set(error, ERROR_FORBIDDEN,
                     "A page of another site may not change anything here (its browser says %s)",
                     site ? site : headers->origin);
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcasecmp(text + length - end_length, end) == 0;
}

static bool is_local(const char *name)
{
    struct in_addr address;
    return !strchr(name, '.') || inet_pton(AF_INET, name, &address) == 1 ||
           ends_with(name, ".localhost");
}

bool cross_site_check_host(const struct request *request, struct error *error)
{
    const char *host = request->headers.host;
    char name[NAME_SIZE];
    if (!host || host[0] == '[') /* an IPv6 address; a browser sends one or the other */
        return true;
    size_t length = strcspn(host, ":");
    size_t kept = length < sizeof(name) ? length : sizeof(name) - 1;
    memcpy(name, host, kept);
    name[kept] = '\0';
    return (kept == length && is_local(name)) ||
           error_set(
               error, ERROR_FORBIDDEN,
               "Without tokens this node is not asked by a name with a dot, which may be a web "
               "page's: \"%s\"; use its address or localhost, or start it with --tokens or "
               "--no-auth",
               name);
}
