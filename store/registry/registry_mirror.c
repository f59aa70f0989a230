#include "store/registry/registry_client.h"

#include "store/excerpt.h"

#include <stdio.h>
#include <string.h>

/* The name of a registry as the reference grammar reads it: `host[:port]`. */
static bool take_name(const char *text, size_t length, const char *port,
                      char out[REFERENCE_REGISTRY_SIZE])
{
    char image[REFERENCE_REGISTRY_SIZE + sizeof("/a/b")];
    struct reference reference;
    struct error error;
    if (length + strlen(port) >= REFERENCE_REGISTRY_SIZE || memchr(text, '/', length))
        return false;
    snprintf(image, sizeof(image), "%.*s%s/a/b", (int)length, text, port);
    if (!reference_parse(image, &reference, &error) || strcmp(reference.repository, "a/b") != 0)
        return false; /* or the grammar takes it for a part of the repository */
    memcpy(out, reference.registry, REFERENCE_REGISTRY_SIZE);
    return true;
}

/* A mirror may be a bare host name, which the grammar wants to see with a port. */
static bool take_mirror(const char *url, struct registry_mirror *out)
{
    out->is_plain = strncmp(url, "http://", 7) == 0;
    if (!out->is_plain && strncmp(url, "https://", 8) != 0)
        return false;
    const char *host = strchr(url, '/') + 2;
    size_t length = strlen(host);
    if (length > 0 && host[length - 1] == '/')
        length--;
    return take_name(host, length, "", out->host) ||
           take_name(host, length, out->is_plain ? ":80" : ":443", out->host);
}

bool registry_mirror_parse(const char *text, struct registry_mirror *mirror, struct error *error)
{
    struct registry_mirror out = {0};
    const char *equals = strchr(text, '=');
    if (!equals || !take_name(text, (size_t)(equals - text), "", out.registry) ||
        !take_mirror(equals + 1, &out))
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "\"%s\" is not a mirror; write it as docker.io=http://mirror:5000",
                         strchr(text, '@') ? "(a login, which a mirror cannot have here)"
                                           : excerpt_of(text).text);
    *mirror = out;
    return true;
}
