/* Text of which nearly all requests are made: printable ASCII without `"` and `\`, which has no
 * control character, is UTF-8, and which JSON writes as it stands. Looked at a word at a time,
 * so that it is known before each character is. Any thread.
 */
#ifndef LARDER_SERVER_PLAIN_TEXT_H
#define LARDER_SERVER_PLAIN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

[[nodiscard]] bool text_is_plain(const char *bytes, size_t size);

#endif
