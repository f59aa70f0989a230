#include "server/etag.h"

#include <string.h>

/* Past the tag that begins at `at`: a quoted text, in which there is no quote. */
static const char *end_of_tag(const char *at)
{
    const char *quote = *at == '"' ? strchr(at + 1, '"') : NULL;
    return quote ? quote + 1 : at + strcspn(at, ",");
}

bool etag_is_named(const char *list, const char *etag)
{
    size_t length = strlen(etag);
    for (const char *at = list; at && *at;) {
        at += strspn(at, " \t,");
        if (*at == '*')
            return true;
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        const char *end = end_of_tag(at);
        if ((size_t)(end - at) == length && memcmp(at, etag, length) == 0)
            return true;
        at = end;
    }
    return false;
}
