#include "store/registry/registry_client.h"

#include <criterion/criterion.h>
#include <string.h>

Test(registry_mirror, a_mirror_is_a_registry_and_the_url_of_another)
{
    static const struct {
        const char *text;
        const char *registry;
        const char *host;
        bool is_plain;
    } rows[] = {
        {"docker.io=http://mirror:5000", "docker.io", "mirror:5000", true},
        {"Index.Docker.io=https://mirror.example.com/", "docker.io", "mirror.example.com", false},
        {"ghcr.io=http://mirror", "ghcr.io", "mirror:80", true},
        {"ghcr.io=https://mirror", "ghcr.io", "mirror:443", false},
        {"localhost:5000=http://[::1]:5001", "localhost:5000", "[::1]:5001", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct registry_mirror mirror;
        struct error error = {0};
        cr_assert(registry_mirror_parse(rows[i].text, &mirror, &error), "%s", error.message);
        cr_expect_str_eq(mirror.registry, rows[i].registry, "%s", rows[i].text);
        cr_expect_str_eq(mirror.host, rows[i].host, "%s", rows[i].text);
        cr_expect_eq(mirror.is_plain, rows[i].is_plain, "%s", rows[i].text);
    }
}

Test(registry_mirror, anything_else_is_refused)
{
    static const char *const bad[] = {
        "",
        "=",
        "docker.io",
        "docker.io=",
        "docker.io=mirror:5000",
        "docker.io=ftp://mirror:5000",
        "docker.io=http://",
        "docker.io=http:///",
        "docker.io=http://mirror:5000/path",
        "docker.io=http://user:password@mirror:5000",
        "docker.io=http://mirror:0",
        "docker.io=http://mirror:5000?x",
        "=http://mirror:5000",
        "library=http://mirror:5000",
        "docker.io/library=http://mirror:5000",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct registry_mirror mirror;
        struct error error = {0};
        cr_expect_not(registry_mirror_parse(bad[i], &mirror, &error), "\"%s\"", bad[i]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "\"%s\"", bad[i]);
    }
}

Test(registry_mirror, a_login_is_refused_and_not_told)
{
    struct registry_mirror mirror;
    struct error error;
    cr_assert_not(
        registry_mirror_parse("docker.io=http://user:s3cret@mirror:5000", &mirror, &error));
    cr_expect(strstr(error.message, "login") && !strstr(error.message, "s3cret"), "%s",
              error.message);
}
