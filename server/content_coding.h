/* Content codings of answers (RFC 9110, 8.4.1): gzip and zstd, at their fastest. */
#ifndef LARDER_SERVER_CONTENT_CODING_H
#define LARDER_SERVER_CONTENT_CODING_H

#include "server/json_writer.h"

/* In the order in which we like them, where a client likes several as much. */
enum content_coding { CODING_IDENTITY, CODING_GZIP, CODING_ZSTD, CODING_COUNT };

/* What suits the value of Accept-Encoding best (RFC 9110, 12.5.3); NULL: there is none. Where
 * nothing suits, and for `*`, which may mean what we do not know, it is CODING_IDENTITY. */
[[nodiscard]] enum content_coding content_coding_choose(const char *accepted);

/* As Content-Encoding names it; NULL for CODING_IDENTITY. */
[[nodiscard]] const char *content_coding_name(enum content_coding coding);

/* Whether bodies of that size are coded at all: small ones gain nothing. */
[[nodiscard]] bool content_coding_is_worth(size_t size_bytes);

/* Puts what the writer has into that coding, unless that is not worth it or gains nothing.
 * The coding that it then is in. */
[[nodiscard]] enum content_coding content_coding_apply(enum content_coding wanted,
                                                       struct json_writer *out);

#endif
