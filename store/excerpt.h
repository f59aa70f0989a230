/* The beginning of a text from outside, fit for an error message: bounded, and of
 * printable ASCII only. Use it inside the call that prints it:
 *
 *     error_set(error, …, "\"%s\" is no media type", excerpt_of(text).text);
 */
#ifndef LARDER_STORE_EXCERPT_H
#define LARDER_STORE_EXCERPT_H

#include <stddef.h>

enum { EXCERPT_MAX = 160 };

struct excerpt {
    char text[EXCERPT_MAX + 4]; /* "..." at the end when there was more */
};

/* NULL gives "". */
[[nodiscard]] struct excerpt excerpt_of(const char *text);

#endif
