/* The lines of a request, as they lie in libmicrohttpd's buffer: what it lets pass there
 * and two readers could read in two ways (RFC 9112, 2.2 and 5.2; RFC 9110, 5.5). */
#ifndef LARDER_SERVER_HTTP_LINES_H
#define LARDER_SERVER_HTTP_LINES_H

#include <stddef.h>

/* What is wrong with the request line, NULL: nothing. `target` and `version` are
 * libmicrohttpd's own, `target_length` is as it was before the query was cut off. */
[[nodiscard]] const char *http_request_line_fault(const char *target, size_t target_length,
                                                  const char *version);

/* The same of a header. */
[[nodiscard]] const char *http_header_fault(const char *name, size_t name_size, const char *value,
                                            size_t value_size);

#endif
