#include "server/plain_text.h"

#include <criterion/criterion.h>
#include <string.h>

static bool byte_is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

Test(plain_text, knows_each_byte_at_each_place_of_each_length)
{
    char text[20];
    for (size_t size = 1; size <= sizeof(text); size++)
        for (size_t at = 0; at < size; at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                memset(text, 'a', sizeof(text));
                text[at] = (char)byte;
                cr_assert_eq(text_is_plain(text, size), byte_is_plain((unsigned char)byte),
                             "byte %#x at %zu of %zu", byte, at, size);
            }
}

Test(plain_text, neighbours_hide_nothing)
{
    char text[8];
    for (unsigned low = 0; low < 256; low++)
        for (unsigned high = 0; high < 256; high++) {
            memset(text, '~', sizeof(text));
            text[3] = (char)low;
            text[4] = (char)high;
            cr_assert_eq(text_is_plain(text, sizeof(text)),
                         byte_is_plain((unsigned char)low) && byte_is_plain((unsigned char)high),
                         "bytes %#x %#x", low, high);
        }
}

Test(plain_text, what_is_behind_the_end_does_not_matter)
{
    cr_expect(text_is_plain("", 0));
    cr_expect(text_is_plain("abcdefg\n", 7));
    cr_expect(text_is_plain("abcdefgh\n", 8));
    cr_expect(text_is_plain("abcdefghijkl\n", 12));
}
