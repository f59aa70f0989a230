/* Reading a request's JSON object: which fields there are, what each may hold.
 *
 *     const struct json_field fields[] = {
 *         {.name = "host", .type = FIELD_TEXT, .required = true, .text = &host,
 *          .max_length = 255},
 *         {.name = "ttl_seconds", .type = FIELD_INT, .nullable = true, .min = 1,
 *          .max = MAX_TTL_SECONDS, .integer = &ttl_seconds, .given = &expires},
 *     };
 *     if (!json_fields_read(body, "", fields, COUNT(fields), error)) …
 *
 * A field that is absent (or null, where that is allowed) leaves its target as it
 * is. Everything else fails with ERROR_INVALID_ARGUMENT, which names the field and
 * what is allowed. Text belongs to the JSON document. Any thread.
 */
#ifndef LARDER_SERVER_JSON_FIELDS_H
#define LARDER_SERVER_JSON_FIELDS_H

#include "store/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_type { FIELD_TEXT, FIELD_INT, FIELD_BOOL, FIELD_OBJECT };

struct json_field {
    const char *name;
    enum field_type type;
    bool required;
    bool nullable;
    bool *given; /* may be NULL: whether it was there and not null */
    /* for FIELD_TEXT: 1 to max_length bytes, of `choices` if any */
    const char **text;
    size_t max_length;
    const char *const *choices; /* ended by NULL */
    /* for FIELD_INT */
    int64_t *integer;
    int64_t min;
    int64_t max;
    /* for FIELD_BOOL */
    bool *boolean;
    /* for FIELD_OBJECT; borrowed */
    json_t **object;
};

/* `prefix` stands before names in errors: "" or "rootfs.". */
[[nodiscard]] bool json_fields_read(json_t *object, const char *prefix,
                                    const struct json_field *fields, size_t field_count,
                                    struct error *error);

#endif
