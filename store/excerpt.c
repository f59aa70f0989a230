#include "store/excerpt.h"

#include <string.h>

struct excerpt excerpt_of(const char *text)
{
    struct excerpt excerpt = {""};
    size_t i = 0;
    for (; text && text[i] && i < EXCERPT_MAX; i++)
        excerpt.text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    if (text && text[i])
        memcpy(excerpt.text + i, "...", sizeof("..."));
    return excerpt;
}
