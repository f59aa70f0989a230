#include "store/registry/origin.h"

#include "store/cleanup.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <libpsl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void cleanup_url_slot(CURLU **slot)
{
    curl_url_cleanup(*slot);
}

static void cleanup_curl_text(char **slot)
{
    curl_free(*slot);
}

static bool take_scheme(CURLU *url, struct origin *out)
{
    cleanup(cleanup_curl_text) char *scheme = NULL;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return false;
    out->is_https = strcasecmp(scheme, "https") == 0;
    return out->is_https || strcasecmp(scheme, "http") == 0;
}

static bool take_host(CURLU *url, struct origin *out)
{
    cleanup(cleanup_curl_text) char *host = NULL;
    if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        return false;
    size_t length = strlen(host);
    if (length == 0 || length >= sizeof(out->host))
        return false;
    for (size_t i = 0; i <= length; i++)
        out->host[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] - 'A' + 'a') : host[i];
    return true;
}

static bool take_port(CURLU *url, struct origin *out)
{
    cleanup(cleanup_curl_text) char *port = NULL;
    if (curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return false;
    out->port = (unsigned)strtoul(port, NULL, 10);
    return out->port > 0;
}

static bool has_user(CURLU *url)
{
    cleanup(cleanup_curl_text) char *user = NULL;
    return curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK;
}

bool origin_parse(const char *url, struct origin *origin)
{
    struct origin out = {0};
    cleanup(cleanup_url_slot) CURLU *parsed = curl_url();
    if (!parsed || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK)
        return false;
    if (has_user(parsed) || !take_scheme(parsed, &out) || !take_host(parsed, &out) ||
        !take_port(parsed, &out))
        return false;
    *origin = out;
    return true;
}

bool origin_equal(const struct origin *one, const struct origin *other)
{
    return one->is_https == other->is_https && one->port == other->port &&
           strcmp(one->host, other->host) == 0;
}

static bool is_address(const char *host)
{
    struct in_addr address;
    return host[0] == '[' || inet_pton(AF_INET, host, &address) == 1;
}

/* NULL for a public suffix itself, and for a name of one label. */
static const char *registered_domain(const char *host)
{
    const psl_ctx_t *list = psl_builtin();
    return list ? psl_registrable_domain(list, host) : NULL;
}

bool origin_same_domain(const struct origin *one, const struct origin *other)
{
    if (strcmp(one->host, other->host) == 0)
        return true;
    if (is_address(one->host) || is_address(other->host))
        return false;
    const char *domain = registered_domain(one->host);
    const char *others = registered_domain(other->host);
    return domain && others && strcmp(domain, others) == 0;
}

bool origin_host_is_loopback(const char *host)
{
    struct in_addr address;
    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}
