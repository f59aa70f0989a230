/* store/registry/origin.h, proxy.h and address.h: a URL, a newline, another URL or a
 * no_proxy. What is accepted is an http or https URL with a clean host; hosts are of one
 * owner both ways round; an address in a host is what it is by itself. Each word of a no_proxy
 * counts for itself, and a network has a number of bits. */
#include "store/cleanup.h"
#include "store/registry/address.h"
#include "store/registry/origin.h"
#include "store/registry/proxy.h"
#include "text_input.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const struct origin *origin)
{
    size_t length = strnlen(origin->host, sizeof(origin->host));
    assert(length > 0 && length < sizeof(origin->host));
    assert(origin->port > 0 && origin->port < 65536);
    for (size_t i = 0; i < length; i++)
        assert((unsigned char)origin->host[i] > ' ' && !strchr("/?#@", origin->host[i]));
    assert(origin_equal(origin, origin) && origin_same_domain(origin, origin));
    if (origin_host_is_loopback(origin->host) && strcmp(origin->host, "localhost") != 0)
        assert(address_kind_of_host(origin->host) == ADDRESS_LOOPBACK);
}

/* A network has all its bits in digits, and no more of them than an address. */
static void check_word(const char *host, const char *word)
{
    const char *slash = strchr(word, '/');
    if (!slash || !proxy_is_left_out(host, word))
        return;
    size_t digits = strspn(slash + 1, "0123456789");
    assert(digits > 0 && slash[1 + digits] == '\0');
    assert(strtoul(slash + 1, NULL, 10) <= (host[0] == '[' ? 128 : 32));
}

static void check_no_proxy(const char *host, const char *no_proxy)
{
    char longer[2 * ORIGIN_HOST_SIZE];
    snprintf(longer, sizeof(longer), "nowhere, %s\t", host);
    if (host[0] != '.' && !strchr(host, ','))
        assert(proxy_is_left_out(host, host) && proxy_is_left_out(host, longer));
    cleanup_free char *words = strdup(no_proxy);
    assert(words);
    bool is_left_out = false;
    for (char *rest = words, *word; (word = strsep(&rest, ", \t"));) {
        check_word(host, word);
        is_left_out = is_left_out || proxy_is_left_out(host, word);
    }
    assert(proxy_is_left_out(host, no_proxy) == is_left_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct origin one;
    struct origin other;
    cleanup_free char *text = text_input(data, size_bytes);
    char *second = strchr(text, '\n');
    if (second)
        *second++ = '\0';
    bool is_one = origin_parse(text, &one);
    bool is_other = second && origin_parse(second, &other);
    if (is_one)
        check(&one);
    if (is_one && second)
        check_no_proxy(one.host, second);
    if (is_one && is_other)
        assert(origin_same_domain(&one, &other) == origin_same_domain(&other, &one));
    return 0;
}
