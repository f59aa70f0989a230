#include "store/registry/proxy.h"

#include "store/cleanup.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *first_set(const char *const *names)
{
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && value[0])
            return value;
    }
    return NULL;
}

/* An address as bytes, brackets left out; their number, or 0 for a name. */
static unsigned read_address(const char *text, size_t length, uint8_t bytes[16])
{
    char bare[INET6_ADDRSTRLEN + 1];
    if (length > 2 && text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    if (length >= sizeof(bare))
        return 0;
    snprintf(bare, sizeof(bare), "%.*s", (int)length, text);
    if (inet_pton(AF_INET, bare, bytes) == 1)
        return 4;
    return inet_pton(AF_INET6, bare, bytes) == 1 ? 16 : 0;
}

/* Digits to the end of the word: without a number, a network is not one of all addresses. */
static bool read_bits(const char *text, const char *end, unsigned long *bits)
{
    size_t digits = strspn(text, "0123456789");
    *bits = strtoul(text, NULL, 10);
    return digits > 0 && text + digits == end;
}

static bool address_matches(const uint8_t host[16], unsigned size, const char *word, size_t length)
{
    uint8_t network[16];
    const char *slash = memchr(word, '/', length);
    if (read_address(word, slash ? (size_t)(slash - word) : length, network) != size)
        return false;
    unsigned long bits = size * 8UL;
    if (slash && !read_bits(slash + 1, word + length, &bits))
        return false;
    if (bits > size * 8UL)
        return false;
    for (unsigned long bit = 0; bit < bits; bit++)
        if ((host[bit / 8] ^ network[bit / 8]) & (0x80U >> bit % 8))
            return false;
    return true;
}

static bool name_matches(const char *host, const char *word, size_t length)
{
    size_t host_length = strlen(host);
    if (word[0] == '.') {
        word++;
        length--;
    }
    if (length == 0 || length > host_length)
        return false;
    const char *end = host + host_length - length;
    return strncasecmp(end, word, length) == 0 && (end == host || end[-1] == '.');
}

bool proxy_is_left_out(const char *host, const char *no_proxy)
{
    uint8_t bytes[16];
    unsigned size = read_address(host, strlen(host), bytes);
    for (const char *word = no_proxy; *(word += strspn(word, ", \t"));) {
        size_t length = strcspn(word, ", \t");
        if (length == 1 && word[0] == '*')
            return true;
        if (size ? address_matches(bytes, size, word, length) : name_matches(host, word, length))
            return true;
        word += length;
    }
    return false;
}

const char *proxy_of(const struct origin *origin)
{
    static const char *const of_https[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                           NULL};
    /* $HTTP_PROXY is what a CGI's request can set. */
    static const char *const of_http[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const left_out[] = {"no_proxy", "NO_PROXY", NULL};
    const char *no_proxy = first_set(left_out);
    if (origin_host_is_loopback(origin->host) ||
        (no_proxy && proxy_is_left_out(origin->host, no_proxy)))
        return NULL;
    return first_set(origin->is_https ? of_https : of_http);
}

static void cleanup_url_slot(CURLU **slot)
{
    curl_url_cleanup(*slot);
}

static void cleanup_curl_text(char **slot)
{
    curl_free(*slot);
}

static bool has_part(CURLU *url, CURLUPart part, const char *but)
{
    cleanup(cleanup_curl_text) char *text = NULL;
    return curl_url_get(url, part, &text, 0) == CURLUE_OK && (!but || strcmp(text, but) != 0);
}

/* Names are left to the proxy. */
static bool set_kind(CURLU *url)
{
    static const char *const kinds[][2] = {
        {"http", "http"},       {"https", "https"},     {"socks", "socks4a"},
        {"socks4", "socks4a"},  {"socks4a", "socks4a"}, {"socks5", "socks5h"},
        {"socks5h", "socks5h"},
    };
    cleanup(cleanup_curl_text) char *scheme = NULL;
    if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcasecmp(scheme, kinds[i][0]) == 0)
            return curl_url_set(url, CURLUPART_SCHEME, kinds[i][1], CURLU_NON_SUPPORT_SCHEME) ==
                   CURLUE_OK;
    return false;
}

/* What else a URL may have is a piece of a password that is not percent-encoded. Without a scheme
 * it is that of an HTTP proxy. */
static bool parse(CURLU *url, const char *proxy)
{
    cleanup_free char *whole = NULL;
    if (asprintf(&whole, "%s%s", strstr(proxy, "://") ? "" : "http://", proxy) < 0)
        abort(); /* out of memory */
    return curl_url_set(url, CURLUPART_URL, whole, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
           !has_part(url, CURLUPART_PATH, "/") && !has_part(url, CURLUPART_QUERY, NULL) &&
           !has_part(url, CURLUPART_FRAGMENT, NULL) && set_kind(url);
}

static bool take_part(CURLU *url, CURLUPart part, char **text)
{
    cleanup(cleanup_curl_text) char *decoded = NULL; /* only to see whether it can be */
    return curl_url_get(url, part, &decoded, CURLU_URLDECODE) == CURLUE_OK &&
           curl_url_get(url, part, text, 0) == CURLUE_OK &&
           curl_url_set(url, part, NULL, 0) == CURLUE_OK;
}

/* As it stands in the URL: CURLOPT_PROXYUSERPWD decodes it. */
static bool set_login(CURLU *url, CURL *handle)
{
    cleanup(cleanup_curl_text) char *user = NULL;
    cleanup(cleanup_curl_text) char *password = NULL;
    bool has_password = has_part(url, CURLUPART_PASSWORD, NULL);
    if (!has_password && !has_part(url, CURLUPART_USER, NULL))
        return true;
    if ((has_password && !take_part(url, CURLUPART_PASSWORD, &password)) ||
        !take_part(url, CURLUPART_USER, &user))
        return false;
    cleanup_free char *login = NULL;
    if (asprintf(&login, "%s:%s", user, password ? password : "") < 0)
        abort(); /* out of memory */
    curl_easy_setopt(handle, CURLOPT_PROXYUSERPWD, login);
    return true;
}

static bool set_proxy(CURLU *url, CURL *handle)
{
    cleanup(cleanup_curl_text) char *place = NULL;
    if (curl_url_get(url, CURLUPART_URL, &place, 0) != CURLUE_OK)
        return false;
    curl_easy_setopt(handle, CURLOPT_PROXY, place);
    return true;
}

bool proxy_use(const char *proxy, CURL *handle, struct error *error)
{
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_NOPROXY, "");
    if (!proxy)
        return true;
    cleanup(cleanup_url_slot) CURLU *url = curl_url();
    if (!url)
        abort(); /* out of memory */
    if (parse(url, proxy) && set_login(url, handle) && set_proxy(url, handle))
        return true;
    return error_set(
        error, ERROR_PULL_FAILED,
        "the proxy that the environment names cannot be used: its URL is a scheme "
        "(http, https, socks4a, socks5h), a login if need be, a host and a port, without "
        "a path, and with all that is special in a password percent-encoded");
}
