#include "store/excerpt.h"

#include <string.h>

struct excerpt excerpt_of_bytes(const char *bytes, size_t length)
{
    struct excerpt excerpt = {""};
    size_t kept = length < EXCERPT_MAX ? length : EXCERPT_MAX;
    for (size_t i = 0; i < kept; i++)
        excerpt.text[i] = bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '?';
    if (kept < length)
        memcpy(excerpt.text + kept, "...", sizeof("..."));
    return excerpt;
}

struct excerpt excerpt_of(const char *text)
{
    return excerpt_of_bytes(text, text ? strnlen(text, EXCERPT_MAX + 1) : 0);
}
