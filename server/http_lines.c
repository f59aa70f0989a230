#include "server/http_lines.h"

#include "server/plain_text.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* libmicrohttpd 0.9 reads folded lines (and joins them into the name), lines that end in a
 * bare LF, and NULs, at which it cuts what it hands out; 1.0 refuses them itself. All that
 * 0.9 hands out lies where it came, with NULs in the place of CR, LF, colon and blanks: so
 * what was there shows in the distances. */
static bool lies_where_it_came(void)
{
    return strncmp(MHD_get_version(), "0.9.", 4) == 0;
}

static bool ends_in_crlf(const char *end)
{
    return end[0] == '\0' && end[1] == '\0';
}

const char *http_request_line_fault(const char *target, size_t target_length, const char *version)
{
    if (!lies_where_it_came())
        return NULL;
    if ((uintptr_t)version != (uintptr_t)target + target_length + 1)
        return "The request line has a NUL or a second blank in it";
    return ends_in_crlf(version + strlen(version)) ? NULL : "A line ends in LF without CR";
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *text, size_t size)
{
    static const bool in_tokens[256] = {
        ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['!'] = true,
        ['#'] = true,         ['$'] = true,         ['%'] = true,         ['&'] = true,
        ['\''] = true,        ['*'] = true,         ['+'] = true,         ['-'] = true,
        ['.'] = true,         ['^'] = true,         ['_'] = true,         ['`'] = true,
        ['|'] = true,         ['~'] = true};
    for (size_t i = 0; i < size; i++)
        if (!in_tokens[(unsigned char)text[i]])
            return false;
    return size > 0;
}

static bool has_control(const char *text, size_t size)
{
    if (text_is_plain(text, size))
        return false;
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

/* The value stands behind the name, its colon and blanks. */
static bool is_on_one_line(const char *name, size_t name_size, const char *value)
{
    const char *colon = name + name_size;
    if ((uintptr_t)value <= (uintptr_t)colon)
        return false;
    size_t blanks = (size_t)((uintptr_t)value - (uintptr_t)colon - 1);
    return *colon == '\0' && strspn(colon + 1, " \t") >= blanks;
}

const char *http_header_fault(const char *name, size_t name_size, const char *value,
                              size_t value_size)
{
    if (!is_token(name, name_size))
        return "A header's name has a space or another character in it that names have not";
    if (has_control(value, value_size))
        return "A header has a control character in it";
    if (!lies_where_it_came())
        return NULL;
    if (!is_on_one_line(name, name_size, value))
        return "A header is folded into several lines";
    return ends_in_crlf(value + value_size) ? NULL
                                            : "A header has a NUL in it, or ends in LF "
                                              "without CR";
}
