/* Loading a small JSON document that a stranger wrote: bounded in size, depth and count,
 * strict about duplicate keys, NUL and UTF-8. And typed reads of its members.
 * Knows nothing of where the bytes came from. Any thread.
 */
#ifndef LARDER_STORE_REGISTRY_JSON_DOCUMENT_H
#define LARDER_STORE_REGISTRY_JSON_DOCUMENT_H

#include "store/cleanup.h"
#include "store/error.h"

#include <jansson.h>
#include <stddef.h>

enum {
    JSON_DOCUMENT_MAX_BYTES = 4 << 20, /* what distribution-spec lets registries refuse above */
    JSON_DOCUMENT_MAX_DEPTH = 64,
    JSON_DOCUMENT_MAX_VALUES = 1 << 18, /* each takes memory: 4 MiB of "0," would be 2 million */
};

/* The document's object, to be json_decref'd. NULL with `code` and an error that
 * begins with `what` ("the manifest") otherwise. */
[[nodiscard]] json_t *json_document_load(const void *bytes, size_t size, const char *what,
                                         enum error_code code, struct error *error);

/* As json_document_load, of a document that is an array. */
[[nodiscard]] json_t *json_document_load_array(const void *bytes, size_t size, const char *what,
                                               enum error_code code, struct error *error);

/* The member, or NULL when it is absent or null. */
[[nodiscard]] json_t *json_document_member(const json_t *object, const char *key);

/* A member whose key is one of `names` (ended by NULL) but for its case, as readers in Go
 * see it: they would take it for that one, which we do not. NULL: none. */
[[nodiscard]] const char *json_document_misspelled(const json_t *object, const char *const names[]);

static inline void cleanup_json_slot(json_t **slot)
{
    json_decref(*slot);
}
#define cleanup_json cleanup(cleanup_json_slot)

#endif
