/* store/catalogue/page_token.h: what is accepted as a token is made again from its parts,
 * and a token of any parts is accepted and gives them back. */
#include "store/catalogue/page_token.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

enum { PARTS = 3 };

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
    if (!page_token_parse(token, "images", arena, again, PARTS, &error))
        return; /* no UTF-8, which no column holds */
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
