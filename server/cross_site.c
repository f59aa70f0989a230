#include "server/cross_site.h"

#include <string.h>
#include <strings.h>

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
