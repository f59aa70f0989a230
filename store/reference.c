#include "store/reference.h"

#include "store/excerpt.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MAX = REFERENCE_TEXT_SIZE - 1 };

/* A piece of the text being parsed; not NUL-terminated. */
struct piece {
    const char *start;
    size_t length;
};

static bool refuse(struct error *error, const char *text, const char *why)
{
    return error_set(error, ERROR_INVALID_REFERENCE, "\"%s\" is not an image reference: %s",
                     excerpt_of(text).text, why);
}

static void copy_piece(char *out, struct piece piece)
{
    memcpy(out, piece.start, piece.length);
    out[piece.length] = '\0';
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_letter_or_digit(char c)
{
    return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool is_word(char c)
{
    return is_letter_or_digit(c) || c == '_';
}

static bool piece_is(struct piece piece, const char *text)
{
    return piece.length == strlen(text) && memcmp(piece.start, text, piece.length) == 0;
}

/* [a-z0-9]+ joined by one '.', one or two '_', or any number of '-'. */
static bool is_path_component(struct piece part)
{
    size_t i = 0;
    while (i < part.length) {
        size_t start = i;
        while (i < part.length && is_lower_or_digit(part.start[i]))
            i++;
        if (i == start)
            return false;
        if (i == part.length)
            return true;
        char separator = part.start[i];
        size_t run = 0;
        while (i < part.length && part.start[i] == separator) {
            i++;
            run++;
        }
        if (separator != '-' && !(separator == '.' && run == 1) && !(separator == '_' && run <= 2))
            return false;
    }
    return false;
}

static bool is_repository(struct piece name)
{
    const char *end = name.start + name.length;
    for (const char *part = name.start;;) {
        const char *slash = memchr(part, '/', (size_t)(end - part));
        const char *stop = slash ? slash : end;
        if (!is_path_component((struct piece){part, (size_t)(stop - part)}))
            return false;
        if (!slash)
            return true;
        part = slash + 1;
    }
}

static bool has_upper_case(struct piece piece)
{
    for (size_t i = 0; i < piece.length; i++)
        if (piece.start[i] >= 'A' && piece.start[i] <= 'Z')
            return true;
    return false;
}

static bool take_repository(const char *text, struct piece name, struct reference *out,
                            struct error *error)
{
    bool in_library =
        strcmp(out->registry, "docker.io") == 0 && !memchr(name.start, '/', name.length);
    size_t prefix = in_library ? strlen("library/") : 0;

    if (name.length == 0)
        return refuse(error, text, "the repository is missing; write it as in \"python:3.12\"");
    if (has_upper_case(name))
        return refuse(error, text, "the repository must be in lower case");
    if (!is_repository(name))
        return refuse(error, text,
                      "each part of the repository is of a-z and 0-9, joined by single \".\", by "
                      "\"_\", \"__\" or dashes");
    if (prefix + name.length >= REFERENCE_REPOSITORY_SIZE)
        return refuse(error, text, "the repository is longer than 255 characters");

    memcpy(out->repository, "library/", prefix);
    copy_piece(out->repository + prefix, name);
    return true;
}

static bool take_tag(const char *text, struct piece tag, struct reference *out, struct error *error)
{
    if (tag.length == 0)
        return refuse(error, text, "the tag after \":\" is empty");
    if (tag.length >= REFERENCE_TAG_SIZE)
        return refuse(error, text, "the tag is longer than 128 characters");
    bool good = is_word(tag.start[0]);
    for (size_t i = 1; i < tag.length; i++)
        good = good && (is_word(tag.start[i]) || tag.start[i] == '.' || tag.start[i] == '-');
    if (!good)
        return refuse(error, text,
                      "a tag is of letters, digits, \"_\", \".\" and \"-\", and does not start "
                      "with \".\" or \"-\"");
    copy_piece(out->tag, tag);
    return true;
}

static bool take_digest(const char *text, const char *digest_text, struct reference *out,
                        struct error *error)
{
    struct digest digest;
    if (!digest_parse(digest_text, &digest))
        return refuse(error, text, "a digest is \"sha256:\" and 64 lower-case hex digits");
    digest_format(&digest, out->digest);
    return true;
}

/* Ports 1 to 65535 without leading zeros, so that one port has one spelling. */
static bool is_port(struct piece port)
{
    if (port.length == 0 || port.length > 5 || port.start[0] == '0')
        return false;
    unsigned value = 0;
    for (size_t i = 0; i < port.length; i++) {
        if (port.start[i] < '0' || port.start[i] > '9')
            return false;
        value = value * 10 + (unsigned)(port.start[i] - '0');
    }
    return value <= 65535;
}

static bool is_host_label(struct piece label)
{
    if (label.length == 0 || label.start[0] == '-' || label.start[label.length - 1] == '-')
        return false;
    for (size_t i = 0; i < label.length; i++)
        if (!is_letter_or_digit(label.start[i]) && label.start[i] != '-')
            return false;
    return true;
}

static bool is_host_name(struct piece host)
{
    const char *end = host.start + host.length;
    for (const char *label = host.start;;) {
        const char *dot = memchr(label, '.', (size_t)(end - label));
        const char *stop = dot ? dot : end;
        if (!is_host_label((struct piece){label, (size_t)(stop - label)}))
            return false;
        if (!dot)
            return true;
        label = dot + 1;
    }
}

/* Writes `[address]` in the one spelling that inet_ntop gives it. */
static bool take_ipv6(struct piece address, char *out, size_t out_size)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr parsed;
    if (address.length >= sizeof(text))
        return false;
    copy_piece(text, address);
    if (inet_pton(AF_INET6, text, &parsed) != 1)
        return false;
    if (!inet_ntop(AF_INET6, &parsed, text, sizeof(text)))
        return false;
    snprintf(out, out_size, "[%s]", text);
    return true;
}

static bool take_host(struct piece host, struct reference *out)
{
    if (host.length >= 2 && host.start[0] == '[' && host.start[host.length - 1] == ']')
        return take_ipv6((struct piece){host.start + 1, host.length - 2}, out->registry,
                         sizeof(out->registry));
    if (host.length > 253 || !is_host_name(host))
        return false;
    for (size_t i = 0; i < host.length; i++)
        out->registry[i] = ascii_lower(host.start[i]);
    out->registry[host.length] = '\0';
    return true;
}

/* Docker Hub has three names; its API host is the client's business. */
static void fold_docker_hub(struct reference *out)
{
    static const char *const names[] = {"index.docker.io", "registry-1.docker.io"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(out->registry, names[i]) == 0)
            snprintf(out->registry, sizeof(out->registry), "docker.io");
}

static bool take_registry(const char *text, struct piece registry, struct reference *out,
                          struct error *error)
{
    const char *end = registry.start + registry.length;
    const char *bracket = memrchr(registry.start, ']', registry.length);
    const char *after = bracket ? bracket : registry.start;
    const char *colon = memchr(after, ':', (size_t)(end - after));
    const char *host_end = colon ? colon : end;
    struct piece port = {host_end, (size_t)(end - host_end)};

    if (!take_host((struct piece){registry.start, (size_t)(host_end - registry.start)}, out))
        return refuse(error, text,
                      "the registry before the first \"/\" is not a host name, an IPv4 address or "
                      "an IPv6 address in brackets");
    if (colon && !is_port((struct piece){colon + 1, port.length - 1}))
        return refuse(error, text, "the registry's port is not a number from 1 to 65535");
    if (colon) {
        size_t used = strlen(out->registry);
        copy_piece(out->registry + used, port);
    }
    fold_docker_hub(out);
    return true;
}

static bool names_registry(struct piece first)
{
    if (memchr(first.start, '.', first.length) || memchr(first.start, ':', first.length))
        return true;
    if (first.length != strlen("localhost"))
        return false;
    char lowered[sizeof("localhost")] = "";
    for (size_t i = 0; i < first.length; i++)
        lowered[i] = ascii_lower(first.start[i]);
    return piece_is((struct piece){lowered, first.length}, "localhost");
}

/* Splits the name into registry and repository, with docker.io as the default. */
static bool take_name(const char *text, struct piece name, struct reference *out,
                      struct error *error)
{
    const char *slash = memchr(name.start, '/', name.length);
    struct piece first = {name.start, slash ? (size_t)(slash - name.start) : 0};
    if (!slash || !names_registry(first)) {
        snprintf(out->registry, sizeof(out->registry), "docker.io");
        return take_repository(text, name, out, error);
    }
    struct piece rest = {slash + 1, name.length - first.length - 1};
    return take_registry(text, first, out, error) && take_repository(text, rest, out, error);
}

/* 64 hex digits are an image id to Docker's tools, never a name. */
static bool is_image_id(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

bool reference_parse(const char *text, struct reference *reference, struct error *error)
{
    struct reference out = {0};
    if (text[0] == '\0')
        return refuse(error, text, "it is empty; write it as in \"python:3.12\"");
    if (strnlen(text, INPUT_MAX + 1) > INPUT_MAX)
        return refuse(error, text, "it is too long");
    if (is_image_id(text))
        return refuse(error, text, "64 hex digits alone are an image id; write name@sha256:…");

    const char *at = strchr(text, '@');
    const char *end = at ? at : text + strlen(text);
    if (at && !take_digest(text, at + 1, &out, error))
        return false;

    const char *slash = memrchr(text, '/', (size_t)(end - text));
    const char *last_part = slash ? slash + 1 : text;
    const char *colon = memchr(last_part, ':', (size_t)(end - last_part));
    if (colon && !take_tag(text, (struct piece){colon + 1, (size_t)(end - colon - 1)}, &out, error))
        return false;

    const char *name_end = colon ? colon : end;
    if (!take_name(text, (struct piece){text, (size_t)(name_end - text)}, &out, error))
        return false;
    if (!out.tag[0] && !out.digest[0])
        snprintf(out.tag, sizeof(out.tag), "latest");
    *reference = out;
    return true;
}

void reference_format(const struct reference *reference, char text[REFERENCE_TEXT_SIZE])
{
    /* On the way of every read: stpcpy() costs a tenth of snprintf(). The size has room for
     * the longest of each part. */
    char *at = stpcpy(text, reference->registry);
    *at++ = '/';
    at = stpcpy(at, reference->repository);
    if (reference->tag[0])
        *at++ = ':';
    at = stpcpy(at, reference->tag);
    if (reference->digest[0])
        *at++ = '@';
    stpcpy(at, reference->digest);
}

void reference_format_name(const struct reference *reference, char text[REFERENCE_TEXT_SIZE])
{
    char *at = stpcpy(text, reference->registry);
    *at++ = '/';
    stpcpy(at, reference->repository);
}

bool reference_equal(const struct reference *one, const struct reference *other)
{
    return strcmp(one->registry, other->registry) == 0 &&
           strcmp(one->repository, other->repository) == 0 && strcmp(one->tag, other->tag) == 0 &&
           strcmp(one->digest, other->digest) == 0;
}
