#include "store/catalogue/page_token.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>

enum { MAX_TOKEN_LENGTH = 4096 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *encode(struct arena *arena, const char *text)
{
    size_t length = strlen(text);
    char *token = arena_alloc(arena, length * 4 / 3 + 3);
    size_t used = 0;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < length; i++) {
        bits = bits << 8 | (unsigned char)text[i];
        for (bit_count += 8; bit_count >= 6; bit_count -= 6)
            token[used++] = alphabet[bits >> (bit_count - 6) & 63];
    }
    if (bit_count > 0)
        token[used++] = alphabet[bits << (6 - bit_count) & 63];
    return token;
}

/* NULL when a character is none of the alphabet's. */
static char *decode(struct arena *arena, const char *token)
{
    size_t length = strlen(token);
    char *text = arena_alloc(arena, length + 1);
    size_t used = 0;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < length; i++) {
        const char *found = strchr(alphabet, token[i]);
        if (!found)
            return NULL;
        bits = bits << 6 | (uint32_t)(found - alphabet);
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            text[used++] = (char)(bits >> bit_count & 255);
        }
    }
    return text;
}

const char *page_token_format(struct arena *arena, const char *list, const char *const *parts,
                              size_t count)
{
    json_t *key = json_pack("[s]", list);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(key, json_string(parts[i]));
    char *text = json_dumps(key, JSON_COMPACT);
    json_decref(key);
    if (!text)
        abort();
    const char *token = encode(arena, text);
    free(text);
    return token;
}

static bool read_parts(const json_t *key, const char *list, struct arena *arena, const char **parts,
                       size_t count)
{
    const char *name = json_string_value(json_array_get(key, 0));
    if (json_array_size(key) != count + 1 || !name || strcmp(name, list) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        parts[i] = arena_strdup(arena, json_string_value(json_array_get(key, i + 1)));
        if (!parts[i])
            return false;
    }
    return true;
}

bool page_token_parse(const char *token, const char *list, struct arena *arena, const char **parts,
                      size_t count, struct error *error)
{
    char *text = strlen(token) <= MAX_TOKEN_LENGTH ? decode(arena, token) : NULL;
    json_t *key = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool valid = key && read_parts(key, list, arena, parts, count);
    json_decref(key);
    return valid || error_set(error, ERROR_INVALID_ARGUMENT,
                              "page_token is not one that this list gave out; take "
                              "next_page_token of the page before, or none for the first page");
}
