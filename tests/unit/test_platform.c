#include "store/platform.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *text;
    const char *normal;
} spellings[] = {
    {"linux/amd64", "linux/amd64"},       {"linux/x86_64", "linux/amd64"},
    {"Linux/AMD64", "linux/amd64"},       {"linux/amd64/v1", "linux/amd64"},
    {"linux/amd64/v3", "linux/amd64/v3"}, {"amd64", "linux/amd64"},
    {"aarch64", "linux/arm64"},           {"linux/arm64/v8", "linux/arm64"},
    {"linux/arm64/8", "linux/arm64"},     {"linux/arm64/v9", "linux/arm64/v9"},
    {"linux/arm", "linux/arm/v7"},        {"linux/arm/7", "linux/arm/v7"},
    {"linux/arm/v6", "linux/arm/v6"},     {"linux/armhf", "linux/arm/v7"},
    {"linux/armel", "linux/arm/v6"},      {"linux/i386", "linux/386"},
    {"linux/riscv64", "linux/riscv64"},   {"macos/arm64", "darwin/arm64"},
    {"windows/amd64", "windows/amd64"},
};

Test(platform, every_spelling_has_containerds_normal_form)
{
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        struct platform platform;
        struct error error = {0};
        char text[PLATFORM_TEXT_SIZE] = "";
        cr_expect(platform_parse(spellings[i].text, &platform, &error), "%s parses: %s",
                  spellings[i].text, error.message);
        if (error.code)
            continue;
        platform_format(&platform, text);
        cr_expect_str_eq(text, spellings[i].normal, "%s is %s, not %s", spellings[i].text,
                         spellings[i].normal, text);
    }
}

Test(platform, what_is_no_platform_is_refused)
{
    static const char *const bad[] = {
        "",
        "linux",
        "linux/",
        "/amd64",
        "linux//v8",
        "a/b/c/d",
        "linux/amd64/",
        "linux/am d64",
        "linux/amd64\n",
        "lin\xc3\xbcx/amd64",
        "/",
        "linux/../amd64",
        "linux/amd64/v123456789012345",
        "linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct platform platform;
        struct error error = {0};
        cr_expect_not(platform_parse(bad[i], &platform, &error), "\"%s\" is refused", bad[i]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "\"%s\" is an argument error", bad[i]);
    }
}

static struct platform parsed(const char *text)
{
    struct platform platform;
    struct error error = {0};
    cr_assert(platform_parse(text, &platform, &error), "%s", error.message);
    return platform;
}

Test(platform, candidates_come_in_containerds_order)
{
    static const struct {
        const char *wanted;
        const char *best_first[8];
    } rows[] = {
        {"linux/amd64", {"linux/amd64", "linux/386"}},
        {"linux/amd64/v3", {"linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"}},
        {"linux/arm64",
         {"linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"}},
        {"linux/arm64/v9", {"linux/arm64/v9", "linux/arm64", "linux/arm/v8", "linux/arm/v7"}},
        {"linux/arm/v7", {"linux/arm/v7", "linux/arm/v6", "linux/arm/v5"}},
        {"linux/arm/v6", {"linux/arm/v6", "linux/arm/v5"}},
    };
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct platform wanted = parsed(rows[row].wanted);
        int last = -1;
        for (size_t i = 0; rows[row].best_first[i]; i++) {
            struct platform offered = parsed(rows[row].best_first[i]);
            int rank = platform_rank(&wanted, &offered);
            cr_expect_gt(rank, last, "%s ranks %s after the ones before it", rows[row].wanted,
                         rows[row].best_first[i]);
            last = rank;
        }
    }
}

Test(platform, what_cannot_run_does_not_match)
{
    static const char *const rows[][2] = {
        {"linux/amd64", "linux/arm64"},     {"linux/amd64", "windows/amd64"},
        {"linux/amd64", "linux/amd64/v2"},  {"linux/arm/v6", "linux/arm/v7"},
        {"linux/arm64", "linux/arm64/v9"},  {"linux/arm/v7", "linux/arm64"},
        {"linux/386", "linux/amd64"},       {"linux/riscv64", "linux/amd64"},
        {"linux/amd64", "unknown/unknown"}, {"linux/arm64", "linux/arm/v4"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct platform wanted = parsed(rows[i][0]);
        struct platform offered = parsed(rows[i][1]);
        cr_expect_eq(platform_rank(&wanted, &offered), -1, "%s does not run %s", rows[i][0],
                     rows[i][1]);
    }
}

Test(platform, the_machines_own_is_a_linux_platform)
{
    struct platform platform = platform_of_machine();
    cr_expect_str_eq(platform.os, "linux");
    cr_expect_neq(platform.architecture[0], '\0');
}
