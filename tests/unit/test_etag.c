#include "server/etag.h"

#include <criterion/criterion.h>
#include <stddef.h>

Test(etag, a_list_names_a_tag_that_stands_in_it_whole)
{
    static const struct {
        const char *list;
        bool named;
        bool is_weak; /* and does not do for If-Match */
    } cases[] = {
        {NULL, false, false},
        {"", false, false},
        {"\"a\"", true, false},
        {"W/\"a\"", true, true},
        {"W/\"a\", \"a\"", true, false},
        {"*", true, false},
        {"\"b\", \"a\"", true, false},
        {"\"b\",W/\"a\",\"c\"", true, true},
        {"\"b\"", false, false},
        {"a", false, false},
        {"\"aa\"", false, false},
        {"\"b\"a\"\"", false, false}, /* a tag has no quote in it */
        {"\"x, \"a\"", false, false},
        {"\"a", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *shown = cases[i].list ? cases[i].list : "(none)";
        cr_expect_eq(etag_is_named(cases[i].list, "\"a\""), cases[i].named, "If-None-Match: %s",
                     shown);
        cr_expect_eq(etag_is_named_strongly(cases[i].list, "\"a\""),
                     cases[i].named && !cases[i].is_weak, "If-Match: %s", shown);
    }
}
