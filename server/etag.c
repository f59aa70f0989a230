#include "server/etag.h"

#include <string.h>

/* Past the tag that begins at `at`: a quoted text, in which there is no quote. */
static const char *end_of_tag(const char *at)
{
    const char *quote = *at == '"' ? strchr(at + 1, '"') : NULL;
    return quote ? quote + 1 : at + strcspn(at, ",");
}

static bool is_named(const char *list, const char *etag, bool weak_counts)
{
    size_t length = strlen(etag);
    for (const char *at = list; at && *at;) {
        at += strspn(at, " \t,");
        if (*at == '*')
            return true;
        bool is_weak = strncmp(at, "W/", 2) == 0;
        if (is_weak)
            at += 2;
        const char *end = end_of_tag(at);
        if ((size_t)(end - at) == length && memcmp(at, etag, length) == 0 &&
            (weak_counts || !is_weak))
            return true;
        at = end;
    }
    return false;
}

bool etag_is_named(const char *list, const char *etag)
{
    return is_named(list, etag, true);
}

bool etag_is_named_strongly(const char *list, const char *etag)
{
    return is_named(list, etag, false);
}
