#include "store/registry/json_document.h"

#include <stdint.h>
#include <string.h>

/* What a document would take, found before any of it is built. */
struct extent {
    unsigned depth;  /* the deepest nesting of arrays and objects: jansson would recurse */
    unsigned values; /* no fewer than there are */
};

static struct extent measure(const char *bytes, size_t size)
{
    struct extent extent = {.values = 1};
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++, extent.values++;
        else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
        else if (!in_string && c == ',')
            extent.values++;
        if (depth > extent.depth)
            extent.depth = depth;
    }
    return extent;
}

static bool check_bounds(const void *bytes, size_t size, const char *what, enum error_code code,
                         struct error *error)
{
    if (size > JSON_DOCUMENT_MAX_BYTES)
        return error_set(error, code, "%s is larger than %d bytes", what, JSON_DOCUMENT_MAX_BYTES);
    struct extent extent = measure(bytes, size);
    if (extent.depth > JSON_DOCUMENT_MAX_DEPTH)
        return error_set(error, code, "%s is nested deeper than %d", what, JSON_DOCUMENT_MAX_DEPTH);
    return extent.values <= JSON_DOCUMENT_MAX_VALUES ||
           error_set(error, code, "%s has more than %d values", what, JSON_DOCUMENT_MAX_VALUES);
}

/* Without what stands there, which may be anything: also a secret that was sent. */
static int length_of(const char *reason)
{
    const char *quoted = strstr(reason, " near ");
    return quoted ? (int)(quoted - reason) : (int)strlen(reason);
}

static json_t *load(const void *bytes, size_t size, const char *what, enum error_code code,
                    struct error *error)
{
    if (!check_bounds(bytes, size, what, code, error))
        return NULL;
    json_error_t reason;
    json_t *document = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &reason);
    if (!document)
        error_set(error, code, "%s is not valid JSON (line %d, column %d): %.*s", what, reason.line,
                  reason.column, length_of(reason.text), reason.text);
    return document;
}

json_t *json_document_load(const void *bytes, size_t size, const char *what, enum error_code code,
                           struct error *error)
{
    cleanup_json json_t *document = load(bytes, size, what, code, error);
    if (document && !json_is_object(document)) {
        error_set(error, code, "%s is not a JSON object", what);
        return NULL;
    }
    return steal(&document);
}

json_t *json_document_load_array(const void *bytes, size_t size, const char *what,
                                 enum error_code code, struct error *error)
{
    cleanup_json json_t *document = load(bytes, size, what, code, error);
    if (document && !json_is_array(document)) {
        error_set(error, code, "%s is not a JSON array", what);
        return NULL;
    }
    return steal(&document);
}

json_t *json_document_member(const json_t *object, const char *key)
{
    json_t *member = json_object_get(object, key);
    return json_is_null(member) ? NULL : member;
}

/* The next letter in lower case; also the two beyond ASCII that fold to one in it: the long
 * s (U+017F) and the Kelvin sign (U+212A). */
static char folded(const char **at)
{
    const char *letter = *at;
    if (strncmp(letter, "\xc5\xbf", 2) == 0) {
        *at += 2;
        return 's';
    }
    if (strncmp(letter, "\xe2\x84\xaa", 3) == 0) {
        *at += 3;
        return 'k';
    }
    *at += 1;
    return *letter >= 'A' && *letter <= 'Z' ? (char)(*letter - 'A' + 'a') : *letter;
}

static bool equal_folded(const char *one, const char *other)
{
    while (*one && *other)
        if (folded(&one) != folded(&other))
            return false;
    return !*one && !*other;
}

const char *json_document_misspelled(const json_t *object, const char *const names[])
{
    json_t *members = (json_t *)(uintptr_t)object; /* jansson iterates over no const */
    const char *key;
    json_t *value;
    json_object_foreach(members, key, value) {
        for (size_t i = 0; names[i]; i++)
            if (strcmp(key, names[i]) != 0 && equal_folded(key, names[i]))
                return key;
    }
    return NULL;
}
