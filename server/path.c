#include "server/path.h"

#include "server/plain_text.h"
#include "server/utf8.h"

#include <string.h>

/* A piece of the target; not NUL-terminated. */
struct piece {
    const char *start;
    size_t length;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_escape(const char *text, size_t length)
{
    return length >= 3 && text[0] == '%' && hex_value(text[1]) >= 0 && hex_value(text[2]) >= 0;
}

static bool has_escape(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (is_escape(text + i, length - i))
            return true;
    return false;
}

static bool has_control(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return true;
    return false;
}

static bool needs_decoding(struct piece piece, bool plus_is_space)
{
    return memchr(piece.start, '%', piece.length) ||
           (plus_is_space && memchr(piece.start, '+', piece.length)) ||
           !text_is_plain(piece.start, piece.length);
}

/* Decodes once into the arena; NULL with *why when it must be refused. */
static const char *decode(struct arena *arena, struct piece piece, bool plus_is_space,
                          const char **why)
{
    char *out = arena_strndup(arena, piece.start, piece.length);
    size_t used = 0;
    if (!needs_decoding(piece, plus_is_space))
        return out;
    for (size_t i = 0; i < piece.length; i++) {
        const char *at = piece.start + i;
        if (*at == '%' && !is_escape(at, piece.length - i)) {
            *why = "a \"%\" that two hex digits do not follow";
            return NULL;
        }
        if (*at == '%') {
            out[used++] = (char)(hex_value(at[1]) * 16 + hex_value(at[2]));
            i += 2;
        } else {
            out[used++] = plus_is_space && *at == '+' ? ' ' : *at;
        }
    }
    out[used] = '\0';
    if (has_control(out, used))
        *why = "a control character";
    else if (!utf8_is_valid(out, used))
        *why = "bytes that are not UTF-8";
    else if (has_escape(out, used))
        *why = "a part that is percent-encoded twice";
    else
        return out;
    return NULL;
}

/* `http://host/path` and `/path` are the same target (RFC 9112, 3.2.2). So are `/ui/` and
 * `/ui`, the only path that people type with a slash at its end. */
static struct piece path_of(const char *target)
{
    static const char page[] = "/ui/";
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++)
        if (strncmp(target, schemes[i], strlen(schemes[i])) == 0)
            target += strlen(schemes[i]) + strcspn(target + strlen(schemes[i]), "/?");
    struct piece path = {target, strcspn(target, "?")};
    if (path.length == strlen(page) && memcmp(target, page, path.length) == 0)
        path.length--;
    return path;
}

static bool refuse(struct error *error, struct piece path, const char *why)
{
    bool names_reference = path.length >= 6 && (strncmp(path.start, "/images/", 8) == 0 ||
                                                strncmp(path.start, "/pins/", 6) == 0);
    enum error_code code = names_reference ? ERROR_INVALID_REFERENCE : ERROR_INVALID_ARGUMENT;
    return error_set(error, code, "The path has %s", why);
}

static const char *refusal_of(const char *segment)
{
    if (segment[0] == '\0')
        return "an empty segment";
    if (strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0)
        return "a \".\" or \"..\" segment";
    return NULL;
}

static size_t count_of(struct piece piece, char c)
{
    size_t count = 0;
    for (size_t i = 0; i < piece.length; i++)
        count += piece.start[i] == c;
    return count;
}

bool path_split(struct arena *arena, const char *target, struct path *path, struct error *error)
{
    struct piece whole = path_of(target);
    *path = (struct path){0};
    if (whole.length <= 1)
        return whole.length == 0 || whole.start[0] == '/' || refuse(error, whole, "no \"/\"");
    if (whole.start[0] != '/')
        return refuse(error, whole, "no \"/\" at its start");

    size_t limit = count_of(whole, '/');
    if (limit > PATH_MAX_SEGMENTS)
        return refuse(error, whole, "more than 256 segments");
    const char **segments = arena_alloc_array(arena, limit, sizeof(*segments));
    const char *end = whole.start + whole.length;
    for (const char *at = whole.start; at < end;) {
        const char *start = at + 1;
        const char *slash = memchr(start, '/', (size_t)(end - start));
        at = slash ? slash : end;
        const char *why = NULL;
        struct piece raw = {start, (size_t)(at - start)};
        const char *segment = decode(arena, raw, false, &why);
        if (segment)
            why = refusal_of(segment);
        if (why)
            return refuse(error, whole, why);
        segments[path->count++] = segment;
    }
    path->segments = segments;
    return true;
}

static bool take_parameter(struct arena *arena, struct piece raw, struct query_parameter *out,
                           struct error *error)
{
    const char *equals = memchr(raw.start, '=', raw.length);
    size_t name_length = equals ? (size_t)(equals - raw.start) : raw.length;
    struct piece value = {raw.start + raw.length, 0};
    if (equals)
        value = (struct piece){equals + 1, raw.length - name_length - 1};

    const char *why = NULL;
    out->name = decode(arena, (struct piece){raw.start, name_length}, true, &why);
    out->value = decode(arena, value, true, &why);
    if (!out->name || !out->value)
        return error_set(error, ERROR_INVALID_ARGUMENT, "The query has %s", why);
    return true;
}

bool query_split(struct arena *arena, const char *target, struct query *query, struct error *error)
{
    *query = (struct query){0};
    const char *mark = strchr(target, '?');
    if (!mark || mark[1] == '\0')
        return true;
    const char *end = mark + strlen(mark);
    size_t limit = count_of((struct piece){mark, (size_t)(end - mark)}, '&') + 1;
    if (limit > QUERY_MAX_PARAMETERS)
        return error_set(error, ERROR_INVALID_ARGUMENT, "The query has more than %d parameters",
                         QUERY_MAX_PARAMETERS);

    struct query_parameter *list = arena_alloc_array(arena, limit, sizeof(*list));
    query->parameters = list;
    for (const char *at = mark; at < end;) {
        const char *start = at + 1;
        const char *separator = memchr(start, '&', (size_t)(end - start));
        at = separator ? separator : end;
        struct query_parameter parameter;
        if (at == start)
            continue;
        if (!take_parameter(arena, (struct piece){start, (size_t)(at - start)}, &parameter, error))
            return false;
        if (query_value(query, parameter.name))
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "The query parameter \"%s\" is given twice", parameter.name);
        list[query->count++] = parameter;
    }
    return true;
}

const char *query_value(const struct query *query, const char *name)
{
    for (size_t i = 0; i < query->count; i++)
        if (strcmp(query->parameters[i].name, name) == 0)
            return query->parameters[i].value;
    return NULL;
}

static const char *join(struct arena *arena, const char *const *segments, size_t count)
{
    size_t length = count;
    for (size_t i = 0; i < count; i++)
        length += strlen(segments[i]);
    char *text = arena_alloc(arena, length);
    char *at = text;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *at++ = '/';
        at = stpcpy(at, segments[i]);
    }
    return text;
}

static bool is_part(struct piece part, const char *text)
{
    return strlen(text) == part.length && memcmp(text, part.start, part.length) == 0;
}

bool path_matches(const struct path *path, const char *pattern, struct arena *arena,
                  const char **variable)
{
    size_t next = 0;
    *variable = NULL;
    for (const char *at = pattern; *at == '/';) {
        struct piece part = {at + 1, strcspn(at + 1, "/")};
        at = part.start + part.length;
        size_t left = path->count - next;
        if (left == 0)
            return false;
        if (is_part(part, "{reference}")) {
            size_t behind = count_of((struct piece){at, strlen(at)}, '/');
            if (left <= behind)
                return false;
            *variable = join(arena, path->segments + next, left - behind);
            next = path->count - behind;
        } else if (part.start[0] == '{') {
            *variable = path->segments[next++];
        } else if (!is_part(part, path->segments[next++])) {
            return false;
        }
    }
    return next == path->count;
}
