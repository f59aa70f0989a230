#include "store/registry/json_document.h"

#include "store/excerpt.h"

#include <string.h>

/* The deepest nesting of arrays and objects, strings left out; jansson would recurse
 * 2048 deep before it refuses. */
static unsigned nesting(const char *bytes, size_t size)
{
    unsigned depth = 0;
    unsigned deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++;
        else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > deepest)
            deepest = depth;
    }
    return deepest;
}

static json_t *load(const void *bytes, size_t size, const char *what, enum error_code code,
                    struct error *error)
{
    if (size > JSON_DOCUMENT_MAX_BYTES) {
        error_set(error, code, "%s is larger than %d bytes", what, JSON_DOCUMENT_MAX_BYTES);
        return NULL;
    }
    if (nesting(bytes, size) > JSON_DOCUMENT_MAX_DEPTH) {
        error_set(error, code, "%s is nested deeper than %d", what, JSON_DOCUMENT_MAX_DEPTH);
        return NULL;
    }

    json_error_t reason;
    json_t *document = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &reason);
    if (!document)
        error_set(error, code, "%s is not valid JSON (line %d, column %d): %s", what, reason.line,
                  reason.column, excerpt_of(reason.text).text);
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
