/* If-None-Match (RFC 9110, 13.1.2): a list of entity tags, or `*`; weak ones compare equal. */
#ifndef LARDER_SERVER_ETAG_H
#define LARDER_SERVER_ETAG_H

#include <stdbool.h>

/* Whether the header's value names the tag, which comes with its quotes; NULL names none. */
[[nodiscard]] bool etag_is_named(const char *list, const char *etag);

#endif
