/* store/catalogue/page_token.h: what is accepted as a token is made again from its parts,
 * and a token of any parts is accepted and gives them back. */
#include "store/catalogue/page_token.h"

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

/* A part of that length makes no token that is too long, however it is escaped. */
enum { PARTS = 3, PART_LENGTH = 200 };

static bool is_utf8(const char *text)
{
    json_t *string = json_string(text);
    json_decref(string);
    return string != NULL;
}

static void check_token(struct arena *arena, const char *token)
{
    const char *parts[PARTS];
    struct error error;
    if (!page_token_parse(token, "images", arena, parts, PARTS, &error)) {
        assert(error.code == ERROR_INVALID_ARGUMENT);
        return;
    }
    const char *again[PARTS];
    const char *made = page_token_format(arena, "images", parts, PARTS);
    assert(page_token_parse(made, "images", arena, again, PARTS, &error));
    for (size_t i = 0; i < PARTS; i++)
        assert(strcmp(parts[i], again[i]) == 0);
    assert(!page_token_parse(made, "pulls", arena, again, PARTS, &error));
}

static void check_parts(struct arena *arena, const char *text)
{
    const char *parts[PARTS] = {text, "", text};
    const char *again[PARTS];
    struct error error;
    const char *token = page_token_format(arena, "images", parts, PARTS);
    assert(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
           strlen(token));
    if (!page_token_parse(token, "images", arena, again, PARTS, &error)) {
        /* What is no UTF-8 is in no column, and what is longer in no key. */
        assert(!is_utf8(text) || strlen(text) > PART_LENGTH);
        return;
    }
    for (size_t i = 0; i < PARTS; i++)
        assert(strcmp(parts[i], again[i]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    cleanup_arena struct arena arena = {0};
    const char *text = arena_strndup(&arena, (const char *)data, size_bytes);
    check_token(&arena, text);
    check_parts(&arena, text);
    return 0;
}
