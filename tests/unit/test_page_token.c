#include "store/catalogue/page_token.h"

#include <criterion/criterion.h>
#include <string.h>

Test(page_token, a_key_survives_its_token)
{
    cleanup_arena struct arena arena = {0};
    const char *key[] = {"2026-01-02 03:04:05.123456+00", "docker.io/library/\xc3\xa4\"\\:1"};
    const char *token = page_token_format(&arena, "images", key, 2);
    cr_assert_null(strpbrk(token, "+/=%&?"), "a token needs no escaping in a query: %s", token);

    const char *parsed[2];
    struct error error;
    cr_assert(page_token_parse(token, "images", &arena, parsed, 2, &error), "%s", error.message);
    cr_expect_str_eq(parsed[0], key[0], "the first part comes back");
    cr_expect_str_eq(parsed[1], key[1], "the second part comes back");
}

Test(page_token, a_token_of_another_list_or_of_nobody_is_refused)
{
    cleanup_arena struct arena arena = {0};
    const char *of_pulls = page_token_format(&arena, "pulls", (const char *[]){"a", "b"}, 2);
    const char *of_one_part = page_token_format(&arena, "images", (const char *[]){"a"}, 1);
    char *too_long = arena_alloc(&arena, 5000);
    memset(too_long, 'A', 4999);
    const char *const bad[] = {"", "x", "!!", "bnVsbA", "e30", of_pulls, of_one_part, too_long};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *parsed[2];
        struct error error = {0};
        cr_expect_not(page_token_parse(bad[i], "images", &arena, parsed, 2, &error),
                      "\"%.40s\" is refused", bad[i]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "as the client's mistake");
    }
}
