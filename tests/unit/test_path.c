#include "server/path.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The segments, each in brackets, so that their borders show. */
static const char *split(struct arena *arena, const char *target, struct error *error)
{
    struct path path;
    if (!path_split(arena, target, &path, error))
        return NULL;
    const char *text = "";
    for (size_t i = 0; i < path.count; i++)
        text = arena_printf(arena, "%s[%s]", text, path.segments[i]);
    return text;
}

Test(path, is_split_on_raw_slashes_and_then_decoded_once)
{
    static const struct {
        const char *target;
        const char *segments;
    } rows[] = {
        {"/", ""},
        {"", ""},
        {"/images", "[images]"},
        {"/images?limit=1", "[images]"},
        {"/images/a/b", "[images][a][b]"},
        {"/images/a%2Fb", "[images][a/b]"},
        {"/images/a%2fb%2finspect/inspect", "[images][a/b/inspect][inspect]"},
        {"/images/docker.io%2Flibrary%2Fpython%3A3.12", "[images][docker.io/library/python:3.12]"},
        {"/images/a+b", "[images][a+b]"},
        {"/images/a%2B", "[images][a+]"},
        {"/images/%C3%A9", "[images][\xc3\xa9]"},
        {"/a/...", "[a][...]"},
        {"/a/100%25", "[a][100%]"},
        {"/a?b?c", "[a]"},
        {"/ui/", "[ui]"},
        {"/ui/?q", "[ui]"},
        {"http://host:1/a/b", "[a][b]"},
        {"https://host/a?b", "[a]"},
        {"http://host", ""},
        {"http://host?q", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cleanup_arena struct arena arena = {0};
        struct error error = {0};
        const char *found = split(&arena, rows[i].target, &error);
        cr_expect(found && strcmp(found, rows[i].segments) == 0, "%s: expected %s, got %s (%s)",
                  rows[i].target, rows[i].segments, found ? found : "a refusal", error.message);
    }
}

Test(path, hostile_spellings_are_refused)
{
    static const char *const targets[] = {
        "/ui//",           "/uix/",     "/a//b",       "//a",    "/a/",       "/a/./b",
        "/a/../b",         "/..",       "/a/%2e%2e/b", "/a/%2E", "/a/.%2e",   "/a%00b",
        "/a/%0a",          "/a/%7f",    "/a/\x01",     "/a/%",   "/a/%4",     "/a/%zz",
        "/a/%2541",        "/a/%252F",  "/a/%25252e",  "/a/%ff", "/a/%c0%af", "/a/%ed%a0%80",
        "/a/%f4%90%80%80", "/a/%e2%82", "/a/\xff",     "a/b",    "*",         "host:443",
    };
    for (size_t i = 0; i < COUNT(targets); i++) {
        cleanup_arena struct arena arena = {0};
        struct error error = {0};
        const char *found = split(&arena, targets[i], &error);
        cr_expect(!found, "%s: expected a refusal, got %s", targets[i], found);
        cr_expect(error.code == ERROR_INVALID_ARGUMENT, "%s: expected InvalidArgument, got %s",
                  targets[i], error_code_name(error.code));
    }
}

Test(path, a_bad_path_of_an_image_or_a_pin_is_an_invalid_reference)
{
    static const char *const targets[] = {"/images/a//b", "/pins/%00", "/images/../etc"};
    for (size_t i = 0; i < COUNT(targets); i++) {
        cleanup_arena struct arena arena = {0};
        struct error error = {0};
        cr_expect(!split(&arena, targets[i], &error));
        cr_expect(error.code == ERROR_INVALID_REFERENCE, "%s: expected InvalidReference, got %s",
                  targets[i], error_code_name(error.code));
    }
}

Test(path, has_a_limited_number_of_segments)
{
    char target[2 * (PATH_MAX_SEGMENTS + 1) + 1] = "";
    cleanup_arena struct arena arena = {0};
    struct path path;
    struct error error;
    for (size_t i = 0; i <= PATH_MAX_SEGMENTS; i++)
        memcpy(target + 2 * i, "/a", 3);
    cr_expect(!path_split(&arena, target, &path, &error), "257 segments must be refused");
    target[2 * (size_t)PATH_MAX_SEGMENTS] = '\0';
    cr_expect(path_split(&arena, target, &path, &error), "256 segments are fine");
    cr_expect_eq(path.count, (size_t)PATH_MAX_SEGMENTS);
}

Test(path, a_pattern_takes_a_reference_of_one_or_many_segments)
{
    static const struct {
        const char *target;
        const char *pattern;
        const char *variable; /* NULL: no match; "-": a match without one */
    } rows[] = {
        {"/healthz", "/healthz", "-"},
        {"/healthz/x", "/healthz", NULL},
        {"/", "/healthz", NULL},
        {"/images%3Aprune", "/images:prune", "-"},
        {"/images/a", "/images/{reference}", "a"},
        {"/images/a/b/c", "/images/{reference}", "a/b/c"},
        {"/images", "/images/{reference}", NULL},
        {"/images/a/inspect", "/images/{reference}/inspect", "a"},
        {"/images/a/b/inspect", "/images/{reference}/inspect", "a/b"},
        {"/images/a%2Finspect/inspect", "/images/{reference}/inspect", "a/inspect"},
        {"/images/a%2Finspect", "/images/{reference}/inspect", NULL},
        {"/images/inspect", "/images/{reference}/inspect", NULL},
        {"/images/inspect/inspect", "/images/{reference}/inspect", "inspect"},
        {"/images/a/b", "/images/{reference}/inspect", NULL},
        {"/images/a/inspect:1", "/images/{reference}/inspect", NULL},
        {"/sandboxes/a", "/sandboxes/{id}", "a"},
        {"/sandboxes/a%2Fb", "/sandboxes/{id}", "a/b"},
        {"/sandboxes/a/b", "/sandboxes/{id}", NULL},
        {"/manifests/d/vmdk", "/manifests/{id}/vmdk", "d"},
        {"/manifests/d/fsmeta", "/manifests/{id}/vmdk", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cleanup_arena struct arena arena = {0};
        struct path path;
        struct error error;
        const char *variable = NULL;
        cr_assert(path_split(&arena, rows[i].target, &path, &error), "%s", rows[i].target);
        bool matches = path_matches(&path, rows[i].pattern, &arena, &variable);
        cr_expect(matches == (rows[i].variable != NULL), "%s must %smatch %s", rows[i].target,
                  rows[i].variable ? "" : "not ", rows[i].pattern);
        if (matches && rows[i].variable)
            cr_expect(strcmp(variable ? variable : "-", rows[i].variable) == 0,
                      "%s: expected %s, got %s", rows[i].target, rows[i].variable, variable);
    }
}

Test(query, is_split_before_it_is_decoded)
{
    static const struct {
        const char *target;
        const char *name;
        const char *value; /* NULL: not given */
    } rows[] = {{"/a?b=c", "b", "c"},
                {"/a?b=c&d=e", "d", "e"},
                {"/a?b=c%26d%3De", "b", "c&d=e"},
                {"/a?b=x+y", "b", "x y"},
                {"/a?b=x%2By", "b", "x+y"},
                {"/a?b", "b", ""},
                {"/a?b=", "b", ""},
                {"/a?b=c=d", "b", "c=d"},
                {"/a?&b=c&&", "b", "c"},
                {"/a?", "b", NULL},
                {"/a", "b", NULL},
                {"/a?b%3D=c", "b=", "c"},
                {"/a?r=a%2Fb:1", "r", "a/b:1"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        cleanup_arena struct arena arena = {0};
        struct query query;
        struct error error;
        cr_assert(query_split(&arena, rows[i].target, &query, &error), "%s", rows[i].target);
        const char *value = query_value(&query, rows[i].name);
        cr_expect(rows[i].value ? value && strcmp(value, rows[i].value) == 0 : !value,
                  "%s: expected %s to be %s, got %s", rows[i].target, rows[i].name,
                  rows[i].value ? rows[i].value : "absent", value ? value : "nothing");
    }
}

Test(query, hostile_spellings_are_refused)
{
    static const char *const targets[] = {"/a?b=%00",   "/a?b=%zz",   "/a?%=1",
                                          "/a?b=%ff",   "/a?b=1&b=2", "/a?b&b",
                                          "/a?b=%2541", "/a?b=\x7f",  "/a?%62=1&b=2"};
    for (size_t i = 0; i < COUNT(targets); i++) {
        cleanup_arena struct arena arena = {0};
        struct query query;
        struct error error = {0};
        cr_expect(!query_split(&arena, targets[i], &query, &error), "%s must be refused",
                  targets[i]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT);
    }
}
