/* UTF-8 as RFC 3629 defines it: no surrogates, no overlong forms. Any thread. */
#ifndef LARDER_SERVER_UTF8_H
#define LARDER_SERVER_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The length in bytes of the sequence that starts here, 0 when it is not UTF-8. */
[[nodiscard]] size_t utf8_sequence_length(const char *bytes, size_t size);

[[nodiscard]] bool utf8_is_valid(const char *bytes, size_t size);

#endif
