/* From the raw request target to decoded path segments and query parameters
 * (RFC 3986). The path is split on raw `/` before anything is decoded, and decoded
 * once, so that an encoded `/` never separates.
 *
 * Refused: NUL and control characters, what is not UTF-8, broken escapes, empty
 * segments, `.` and `..`, and what would decode a second time. Results live in the
 * arena. Any thread.
 */
#ifndef LARDER_SERVER_PATH_H
#define LARDER_SERVER_PATH_H

#include "store/arena.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    PATH_MAX_SEGMENTS = 256, /* a repository of 255 characters has at most 128 */
    QUERY_MAX_PARAMETERS = 32,
};

struct path {
    const char *const *segments; /* decoded, never empty */
    size_t count;                /* 0 for "/" */
};

struct query_parameter {
    const char *name;
    const char *value; /* "" without `=` */
};

struct query {
    const struct query_parameter *parameters;
    size_t count;
};

/* The target as the request line has it, without its query: origin form or
 * absolute form. Fails with ERROR_INVALID_ARGUMENT, or with ERROR_INVALID_REFERENCE
 * under /images/ and /pins/. */
[[nodiscard]] bool path_split(struct arena *arena, const char *target, struct path *path,
                              struct error *error);

/* What follows `?` in the target. `+` is a space. A name given twice is refused. */
[[nodiscard]] bool query_split(struct arena *arena, const char *target, struct query *query,
                               struct error *error);

/* The value, or NULL. */
[[nodiscard]] const char *query_value(const struct query *query, const char *name);

/* Does the path have the pattern's shape? A pattern's parts are literal, `{id}`
 * (one segment) or, once, `{reference}` (one or more). *variable is the segment, or
 * the segments joined by `/`, in the arena; NULL when the pattern has none. */
[[nodiscard]] bool path_matches(const struct path *path, const char *pattern, struct arena *arena,
                                const char **variable);

#endif
