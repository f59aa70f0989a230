/* server/path.h: the target of a request line. What is accepted is clean: UTF-8, no
 * control characters, no empty, `.` or `..` segments, nothing that decodes again; and
 * it comes out the same when it is encoded and split once more. */
#include "server/path.h"
#include "server/utf8.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <string.h>

static void expect_clean(const char *text)
{
    assert(utf8_is_valid(text, strlen(text)));
    for (const char *at = text; *at; at++) {
        assert((unsigned char)*at >= 0x20 && *at != 0x7f);
        assert(*at != '%' || !isxdigit((unsigned char)at[1]) || !isxdigit((unsigned char)at[2]));
    }
}

/* Every byte as an escape. */
static const char *encode(struct arena *arena, const struct path *path)
{
    static const char digits[] = "0123456789abcdef";
    size_t size = 1;
    for (size_t i = 0; i < path->count; i++)
        size += 1 + 3 * strlen(path->segments[i]);
    char *out = arena_alloc(arena, size);
    char *end = out;
    for (size_t i = 0; i < path->count; i++) {
        *end++ = '/';
        for (const char *at = path->segments[i]; *at; at++) {
            *end++ = '%';
            *end++ = digits[(unsigned char)*at >> 4];
            *end++ = digits[(unsigned char)*at & 15];
        }
    }
    return out;
}

static void check_path(struct arena *arena, const char *target)
{
    struct path path;
    struct path again;
    struct error error;
    const char *variable;
    if (!path_split(arena, target, &path, &error))
        return;
    assert(path.count <= PATH_MAX_SEGMENTS);
    for (size_t i = 0; i < path.count; i++) {
        expect_clean(path.segments[i]);
        assert(path.segments[i][0] && strcmp(path.segments[i], ".") != 0 &&
               strcmp(path.segments[i], "..") != 0);
    }
    bool split_again = path_split(arena, encode(arena, &path), &again, &error);
    assert(split_again && again.count == path.count);
    for (size_t i = 0; i < path.count; i++)
        assert(strcmp(path.segments[i], again.segments[i]) == 0);
    if (path_matches(&path, "/images/{reference}/inspect", arena, &variable))
        assert(path.count >= 3 && variable);
    if (path_matches(&path, "/sandboxes/{id}", arena, &variable))
        assert(path.count == 2 && variable == path.segments[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    cleanup_arena struct arena arena = {0};
    struct query query;
    struct error error;
    const char *target = arena_strndup(&arena, (const char *)data, size_bytes);
    check_path(&arena, target);
    if (query_split(&arena, target, &query, &error)) {
        assert(query.count <= QUERY_MAX_PARAMETERS);
        for (size_t i = 0; i < query.count; i++) {
            expect_clean(query.parameters[i].name);
            expect_clean(query.parameters[i].value);
        }
    }
    return 0;
}
