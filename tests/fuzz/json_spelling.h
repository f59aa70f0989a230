/* What json_document_misspelled() is for, said once more. */
#ifndef LARDER_TESTS_FUZZ_JSON_SPELLING_H
#define LARDER_TESTS_FUZZ_JSON_SPELLING_H

#include <assert.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>

/* No reader that folds case may take a member for one of `names` (ended by NULL). */
static inline void json_spelling_check(json_t *object, const char *const names[])
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        for (size_t i = 0; names[i]; i++)
            assert(strcasecmp(key, names[i]) != 0 || strcmp(key, names[i]) == 0);
    }
}

#endif
