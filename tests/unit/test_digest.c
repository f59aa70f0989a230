#include "store/digest.h"

#include <criterion/criterion.h>
#include <string.h>

Test(digest, a_digest_survives_text_and_back)
{
    struct digest digest = digest_of("abc", 3);
    char text[DIGEST_TEXT_SIZE];
    digest_format(&digest, text);
    cr_assert_str_eq(text,
                     "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                     "FIPS 180-2's example of \"abc\"");
    struct digest parsed;
    cr_assert(digest_parse(text, &parsed), "its own text parses");
    cr_assert(digest_equal(&digest, &parsed), "and gives the same digest");
}

Test(digest, anything_but_lower_case_sha256_is_refused)
{
    static const char *const bad[] = {
        "",
        "sha256:",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015add",
        "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:../../../../../../../../../../../../../../../../../etc/passwd.......",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct digest parsed;
        cr_expect_not(digest_parse(bad[i], &parsed), "\"%s\" is refused", bad[i]);
    }
}
