/* If-None-Match and If-Match (RFC 9110, 13.1): a list of entity tags, or `*`. */
#ifndef LARDER_SERVER_ETAG_H
#define LARDER_SERVER_ETAG_H

#include <stdbool.h>

/* Whether the header's value names the tag, which comes with its quotes; NULL names none. For
 * If-None-Match, a weak one is as good. */
[[nodiscard]] bool etag_is_named(const char *list, const char *etag);
/* For If-Match, it is not. */
[[nodiscard]] bool etag_is_named_strongly(const char *list, const char *etag);

#endif
