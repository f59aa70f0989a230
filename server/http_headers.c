#include "server/http_internal.h"
#include "server/http_lines.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* What came of the headers that frame the message, to judge them together. */
struct framing {
    struct request_headers *headers;
    struct arena *arena; /* the request's */
    unsigned hosts;
    unsigned content_lengths;
    unsigned transfer_encodings;
    unsigned authorizations;
    unsigned joined; /* lines that were added to one of the same name */
    const char *transfer_encoding;
    const char *content_length;
    const char *fault; /* of a line */
};

static bool is(const char *name, const char *wanted)
{
    return strcasecmp(name, wanted) == 0;
}

/* RFC 9111, 5.2.1: max-age=0 is the older way to say no-cache. */
static bool asks_for_fresh(const char *cache_control)
{
    for (const char *at = cache_control; *at;) {
        at += strspn(at, " \t,");
        size_t length = strcspn(at, " \t,");
        if ((length == 8 && strncasecmp(at, "no-cache", 8) == 0) ||
            (length == 9 && strncasecmp(at, "max-age=0", 9) == 0))
            return true;
        at += length;
    }
    return false;
}

/* Those that are only read here. */
static const struct {
    const char *name;
    size_t offset; /* in struct request_headers, of a const char * */
} texts[] = {
    {"Origin", offsetof(struct request_headers, origin)},
    {"Sec-Fetch-Site", offsetof(struct request_headers, fetch_site)},
    {"Content-Type", offsetof(struct request_headers, content_type)},
    {"X-Request-Id", offsetof(struct request_headers, request_id)},
    {"Prefer", offsetof(struct request_headers, prefer)},
    {"Range", offsetof(struct request_headers, range)},
    {"If-Range", offsetof(struct request_headers, if_range)},
    {"If-Match", offsetof(struct request_headers, if_match)},
    {"If-None-Match", offsetof(struct request_headers, if_none_match)},
    {"Accept", offsetof(struct request_headers, accept)},
    {"Accept-Encoding", offsetof(struct request_headers, accept_encoding)},
};

/* Each copies what there was: so many that no client needs more. */
enum { JOINED_LINES_MAX = 16 };

/* RFC 9110, 5.3: several lines of one name are one list. Where only one is allowed that makes
 * a value that means nothing, as it should. */
static void take_text(struct framing *framing, const char *name, const char *text)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (!is(name, texts[i].name))
            continue;
        const char **slot = (void *)((char *)framing->headers + texts[i].offset);
        if (!*slot)
            *slot = text;
        else if (++framing->joined <= JOINED_LINES_MAX)
            *slot = arena_printf(framing->arena, "%s, %s", *slot, text);
        return;
    }
}

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    struct framing *framing = context;
    struct request_headers *headers = framing->headers;
    const char *text = value ? value : "";
    const char *fault = value ? http_header_fault(name, name_size, value, value_size) : NULL;
    if (fault)
        framing->fault = fault;
    else if (is(name, "Host"))
        headers->host = (framing->hosts++, text);
    else if (is(name, "Content-Length"))
        framing->content_length = (framing->content_lengths++, text);
    else if (is(name, "Transfer-Encoding"))
        framing->transfer_encoding = (framing->transfer_encodings++, text);
    else if (is(name, "Expect"))
        headers->expects_continue = is(text, "100-continue");
    else if (is(name, "Cache-Control"))
        headers->wants_fresh |= asks_for_fresh(text);
    else if (is(name, "Authorization"))
        headers->authorization = (framing->authorizations++, text);
    else
        take_text(framing, name, text);
    return MHD_YES;
}

static const char *ambiguity_of(const struct framing *framing)
{
    if (framing->fault)
        return framing->fault;
    if (framing->hosts > 1)
        return "The header Host is given twice";
    if (framing->content_lengths > 1)
        return "The header Content-Length is given twice";
    if (framing->transfer_encodings > 1)
        return "The header Transfer-Encoding is given twice";
    if (framing->joined > JOINED_LINES_MAX)
        return "A header is given in too many lines";
    if (framing->authorizations > 1)
        return "The header Authorization is given twice";
    if (framing->content_length && framing->transfer_encoding)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (framing->transfer_encoding && !is(framing->transfer_encoding, "chunked"))
        return "The only Transfer-Encoding taken is chunked";
    return NULL;
}

static bool read_content_length(const char *text, uint64_t *length)
{
    size_t digits = strspn(text, "0123456789");
    errno = 0;
    *length = strtoull(text, NULL, 10);
    return digits > 0 && text[digits] == '\0' && errno == 0;
}

bool http_headers_read(struct request *request, const char *line_fault, struct error *error)
{
    struct framing framing = {
        .headers = &request->headers, .arena = &request->arena, .fault = line_fault};
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, take_header, &framing);
    const char *ambiguity = ambiguity_of(&framing);
    uint64_t length = 0;
    if (!ambiguity && framing.content_length &&
        !read_content_length(framing.content_length, &length))
        ambiguity = "Content-Length is not a number";
    request->headers.content_length = length;
    request->headers.has_body = framing.transfer_encoding || length > 0;
    /* Chunks are libmicrohttpd's to cut, and 0.9 takes lines of theirs that others cut
     * elsewhere: what follows them is never read as a request. */
    request->must_close = framing.transfer_encoding != NULL;
    if (ambiguity) {
        request->must_close = true;
        return error_set(error, ERROR_INVALID_ARGUMENT, "%s", ambiguity);
    }
    return true;
}
