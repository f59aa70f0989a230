#include "server/etag.h"

#include <criterion/criterion.h>
#include <stddef.h>

Test(etag, a_list_names_a_tag_that_stands_in_it_whole)
{
    static const struct {
        const char *list;
        bool named;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"\"a\"", true},
        {"W/\"a\"", true},
        {"*", true},
        {"\"b\", \"a\"", true},
        {"\"b\",W/\"a\",\"c\"", true},
        {"\"b\"", false},
        {"a", false},
        {"\"aa\"", false},
        {"\"b\"a\"\"", false}, /* a tag has no quote in it */
        {"\"x, \"a\"", false},
        {"\"a", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(etag_is_named(cases[i].list, "\"a\""), cases[i].named, "If-None-Match: %s",
                     cases[i].list ? cases[i].list : "(none)");
}
