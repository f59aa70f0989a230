#include "store/reference.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define HEX    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST "sha256:" HEX
#define A10    "aaaaaaaaaa"
#define A50    A10 A10 A10 A10 A10
#define A100   A50 A50
#define A247   A100 A100 A10 A10 A10 A10 "aaaaaaa"
#define A255   A247 "aaaaaaaa"

static const struct good_row {
    const char *text;
    const char *canonical;
} good[] = {
    {"python", "docker.io/library/python:latest"},
    {"python:3.12", "docker.io/library/python:3.12"},
    {"library/python", "docker.io/library/python:latest"},
    {"docker.io/python:3.12", "docker.io/library/python:3.12"},
    {"docker.io/library/python:3.12", "docker.io/library/python:3.12"},
    {"DOCKER.IO/python", "docker.io/library/python:latest"},
    {"index.docker.io/a/b", "docker.io/a/b:latest"},
    {"Index.Docker.IO/python", "docker.io/library/python:latest"},
    {"registry-1.docker.io/library/python", "docker.io/library/python:latest"},
    {"org/app", "docker.io/org/app:latest"},
    {"a/b/c/d", "docker.io/a/b/c/d:latest"},
    {"ghcr.io/org/app:v1", "ghcr.io/org/app:v1"},
    {"ghcr.io/app", "ghcr.io/app:latest"},
    {"ghcr.io/org/app@" DIGEST, "ghcr.io/org/app@" DIGEST},
    {"python:3.12@" DIGEST, "docker.io/library/python:3.12@" DIGEST},
    {"python@" DIGEST, "docker.io/library/python@" DIGEST},
    {"localhost/app", "localhost/app:latest"},
    {"LocalHost/app", "localhost/app:latest"},
    {"localhost:5000/app:1", "localhost:5000/app:1"},
    {"localhost:5000", "docker.io/library/localhost:5000"},
    {"localhost", "docker.io/library/localhost:latest"},
    {"host:5000/app", "host:5000/app:latest"},
    {"Host:5000/app", "host:5000/app:latest"},
    {"127.0.0.1:5000/a/b:x", "127.0.0.1:5000/a/b:x"},
    {"[::1]:5000/app", "[::1]:5000/app:latest"},
    {"[::1]/app:2", "[::1]/app:2"},
    {"[0:0:0:0:0:0:0:1]:5000/app", "[::1]:5000/app:latest"},
    {"[2001:DB8::1]:65535/a@" DIGEST, "[2001:db8::1]:65535/a@" DIGEST},
    {"xn--n3h.com/app", "xn--n3h.com/app:latest"},
    {"x/a--b__c.d_e/f---g", "docker.io/x/a--b__c.d_e/f---g:latest"},
    {"app:_x", "docker.io/library/app:_x"},
    {"app:A.b-C_9", "docker.io/library/app:A.b-C_9"},
    {"app:" A100 A10 A10 "aaaaaaaa", "docker.io/library/app:" A100 A10 A10 "aaaaaaaa"},
    {"docker.io/" HEX, "docker.io/library/" HEX ":latest"},
    {"ghcr.io/" A255, "ghcr.io/" A255 ":latest"},
    {A247, "docker.io/library/" A247 ":latest"},
};

Test(reference, equivalent_spellings_give_one_canonical_form)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct reference reference;
        struct error error = {0};
        char text[REFERENCE_TEXT_SIZE] = "";
        cr_expect(reference_parse(good[i].text, &reference, &error), "%s parses: %s", good[i].text,
                  error.message);
        if (error.code)
            continue;
        reference_format(&reference, text);
        cr_expect_str_eq(text, good[i].canonical, "%s is %s, not %s", good[i].text,
                         good[i].canonical, text);
    }
}

Test(reference, the_canonical_form_parses_to_the_same_value)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct reference first;
        struct reference second;
        struct error error = {0};
        cr_assert(reference_parse(good[i].text, &first, &error), "%s", error.message);
        cr_assert(reference_parse(good[i].canonical, &second, &error), "%s", error.message);
        cr_expect(reference_equal(&first, &second), "%s and %s are equal", good[i].text,
                  good[i].canonical);
    }
}

Test(reference, the_parts_are_told_apart)
{
    struct reference reference;
    struct error error;
    char name[REFERENCE_TEXT_SIZE];
    cr_assert(reference_parse("[::1]:5000/a/b:c@" DIGEST, &reference, &error));
    cr_expect_str_eq(reference.registry, "[::1]:5000");
    cr_expect_str_eq(reference.repository, "a/b");
    cr_expect_str_eq(reference.tag, "c", "a tag beside a digest is kept");
    cr_expect_str_eq(reference.digest, DIGEST);
    reference_format_name(&reference, name);
    cr_expect_str_eq(name, "[::1]:5000/a/b");
}

static const char *const bad[] = {
    "",
    " ",
    "/",
    ":",
    "@",
    ":tag",
    "@" DIGEST,
    "/python",
    "python/",
    "a//b",
    "a/../b",
    "../a",
    "a/./b",
    "..",
    ".",
    "Python",
    "org/App",
    "Org/app",
    "docker.io/Library/python",
    "docker.io/",
    "docker.io//python",
    "python:",
    "python:-x",
    "python:.x",
    "python:a b",
    "python:a/b",
    "python:a:b",
    "python:\xc3\xa9",
    "python:" A100 A10 A10 "aaaaaaaaa",
    "python@",
    "python@sha256:",
    "python@sha256:" HEX "0",
    "python@sha512:" HEX HEX,
    "python@" DIGEST "@" DIGEST,
    "python@SHA256:" HEX,
    "python:latest@sha256:BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    HEX,
    "-a",
    "a-",
    "a.-b",
    "a..b",
    "a___b",
    "a_.b",
    "_a",
    "a_",
    " python",
    "python ",
    "py\nthon",
    "py\tthon",
    "py\x01thon",
    "py\x7fthon",
    "p\xc3\xbfthon",
    "python%3A3",
    "a\\b",
    "http://ghcr.io/a",
    "ghcr.io:/a",
    "ghcr.io:0/a",
    "ghcr.io:05000/a",
    "ghcr.io:65536/a",
    "ghcr.io:99999999999/a",
    "ghcr.io:5x/a",
    "ghcr.io:50:50/a",
    "user@ghcr.io/a",
    "user:pass@ghcr.io/a",
    "-ghcr.io/a",
    "ghcr-.io/a",
    ".ghcr.io/a",
    "ghcr.io./a",
    "gh_cr.io/a",
    "[::1/a",
    "::1]:5000/a",
    "[::1]x/a",
    "[::1]:/a",
    "[:::1]:5000/a",
    "[fe80::1%eth0]:5000/a",
    "[]:5000/a",
    "[127.0.0.1]:5000/a",
    A247 "a",
    "ghcr.io/" A255 "a",
    A255 ".io/a",
};

Test(reference, what_the_grammar_does_not_allow_is_refused)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reference reference;
        struct error error = {0};
        cr_expect_not(reference_parse(bad[i], &reference, &error), "\"%s\" is refused", bad[i]);
        cr_expect_eq(error.code, ERROR_INVALID_REFERENCE, "\"%s\" is an invalid reference", bad[i]);
    }
}

Test(reference, an_error_never_repeats_unprintable_bytes)
{
    struct reference reference;
    struct error error = {0};
    cr_assert_not(reference_parse("a\x1b[31m\xff", &reference, &error));
    for (const char *c = error.message; *c; c++)
        cr_expect((unsigned char)*c >= ' ' && (unsigned char)*c < 0x7f, "byte %02x is printable",
                  (unsigned char)*c);
}

Test(reference, an_overlong_text_is_refused_without_reading_it_all)
{
    static char text[1 << 20];
    struct reference reference;
    struct error error = {0};
    memset(text, 'a', sizeof(text) - 1);
    cr_expect_not(reference_parse(text, &reference, &error));
    cr_expect_lt(strlen(error.message), 260, "the error quotes only its beginning");
}
