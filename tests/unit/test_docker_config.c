#include "store/registry/credentials.h"
#include "store/registry/docker_config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* "user:pass:word" and "u:" */
#define AUTH  "\"auth\":\"dXNlcjpwYXNzOndvcmQ=\""
#define AUTHS "{\"auths\":{"

static const struct {
    const char *document;
    const char *registry;
    enum docker_login_kind kind;
    const char *username;
    const char *secret;
} logins[] = {
    {"{}", "ghcr.io", DOCKER_LOGIN_NONE, NULL, NULL},
    {"{\"auths\":null}", "ghcr.io", DOCKER_LOGIN_NONE, NULL, NULL},
    {AUTHS "\"ghcr.io\":{" AUTH "}}}", "ghcr.io", DOCKER_LOGIN_PASSWORD, "user", "pass:word"},
    {AUTHS "\"ghcr.io\":{" AUTH "}}}", "ghcr.io:443", DOCKER_LOGIN_NONE, NULL, NULL},
    {AUTHS "\"ghcr.io\":{" AUTH "}}}", "evil-ghcr.io", DOCKER_LOGIN_NONE, NULL, NULL},
    {AUTHS "\"ghcr.io\":{" AUTH "}}}", "ghcr.i", DOCKER_LOGIN_NONE, NULL, NULL},
    {AUTHS "\"ghcr.io.evil\":{" AUTH "}}}", "ghcr.io", DOCKER_LOGIN_NONE, NULL, NULL},
    {AUTHS "\"ghcr.io/org\":{" AUTH "}}}", "ghcr.io", DOCKER_LOGIN_NONE, NULL, NULL},
    {AUTHS "\"https://ghcr.io/v2/\":{" AUTH "}}}", "ghcr.io", DOCKER_LOGIN_PASSWORD, "user",
     "pass:word"},
    {AUTHS "\"http://localhost:5000\":{" AUTH "}}}", "localhost:5000", DOCKER_LOGIN_PASSWORD,
     "user", "pass:word"},
    {AUTHS "\"https://index.docker.io/v1/\":{" AUTH "}}}", "docker.io", DOCKER_LOGIN_PASSWORD,
     "user", "pass:word"},
    {AUTHS "\"docker.io\":{" AUTH "}}}", "docker.io", DOCKER_LOGIN_PASSWORD, "user", "pass:word"},
    {AUTHS "\"registry-1.docker.io\":{" AUTH "}}}", "docker.io", DOCKER_LOGIN_PASSWORD, "user",
     "pass:word"},
    {AUTHS "\"docker.io\":{\"auth\":\"dTo=\"},\"https://index.docker.io/v1/\":{" AUTH "}}}",
     "docker.io", DOCKER_LOGIN_PASSWORD, "user", "pass:word"},
    {AUTHS "\"a.b\":{\"username\":\"u\",\"password\":\"p\"}}}", "a.b", DOCKER_LOGIN_PASSWORD, "u",
     "p"},
    {AUTHS "\"a.b\":{" AUTH ",\"identitytoken\":\"t\"}}}", "a.b", DOCKER_LOGIN_IDENTITY_TOKEN, NULL,
     "t"},
    {AUTHS "\"a.b\":{\"auth\":\"dTo=\"}}}", "a.b", DOCKER_LOGIN_PASSWORD, "u", ""},
    {AUTHS "\"a.b\":{\"auth\":\"\"}}}", "a.b", DOCKER_LOGIN_NONE, NULL, NULL},
    {AUTHS "\"a.b\":{}}}", "a.b", DOCKER_LOGIN_NONE, NULL, NULL},
};

static void expect_text(const char *found, const char *expected, size_t row)
{
    if (!expected)
        cr_expect_null(found, "row %zu has no text", row);
    else if (found)
        cr_expect_str_eq(found, expected, "row %zu", row);
    else
        cr_expect_fail("row %zu is %s", row, expected);
}

Test(docker_config, a_registry_finds_its_login_under_every_spelling_of_its_key)
{
    for (size_t i = 0; i < sizeof(logins) / sizeof(logins[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct docker_config config;
        struct error error = {0};
        cr_assert(docker_config_find(&arena, logins[i].document, strlen(logins[i].document),
                                     logins[i].registry, &config, &error),
                  "row %zu: %s", i, error.message);
        cr_expect_eq(config.login.kind, logins[i].kind, "row %zu: kind %d", i, config.login.kind);
        expect_text(config.login.username, logins[i].username, i);
        expect_text(config.login.secret, logins[i].secret, i);
        cr_expect_null(config.helper, "row %zu names no helper", i);
    }
}

Test(docker_config, the_helper_of_a_registry_wins_over_the_store_of_all)
{
    static const struct {
        const char *document;
        const char *registry;
        const char *helper;
        const char *server;
    } rows[] = {
        {"{\"credsStore\":\"pass\"}", "ghcr.io", "pass", "ghcr.io"},
        {"{\"credsStore\":\"pass\"}", "docker.io", "pass", "https://index.docker.io/v1/"},
        {"{\"credsStore\":\"pass\",\"credHelpers\":{\"ghcr.io\":\"gcr\"}}", "ghcr.io", "gcr",
         "ghcr.io"},
        {"{\"credHelpers\":{\"docker.io\":\"x\"}}", "docker.io", "x", "docker.io"},
        {"{\"credHelpers\":{\"ghcr.io\":\"gcr\"}}", "docker.io", NULL, NULL},
        {"{\"credsStore\":\"\"}", "docker.io", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct docker_config config;
        struct error error = {0};
        cr_assert(docker_config_find(&arena, rows[i].document, strlen(rows[i].document),
                                     rows[i].registry, &config, &error),
                  "row %zu: %s", i, error.message);
        expect_text(config.helper, rows[i].helper, i);
        expect_text(config.helper_server, rows[i].server, i);
    }
}

Test(docker_config, a_bad_document_is_refused_without_repeating_a_secret)
{
    static const char *const bad[] = {
        "",
        "[]",
        "s3cret",
        "{\"auths\":{\"a.b\":{\"auth\":s3cret}}}",
        "{\"auths\":{\"a.b\":{\"auth\":\"s3cret\"}}}",
        "{\"auths\":{\"a.b\":{\"auth\":\"s3cret==\"}}}",
        "{\"auths\":{\"a.b\":{\"auth\":\"====\"}}}",
        "{\"auths\":{\"a.b\":{\"auth\":\"c2VjcmV0\"}}}",
        "{\"auths\":{\"a.b\":{\"auth\":\"OnNlY3JldA==\"}}}",
        "{\"credsStore\":\"../../bin/s3cret\"}",
        "{\"credsStore\":\"s3cret x\"}",
        "{\"credsStore\":7}",
        "{\"credHelpers\":{\"a.b\":[]}}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct docker_config config;
        struct error error = {0};
        cr_expect_not(docker_config_find(&arena, bad[i], strlen(bad[i]), "a.b", &config, &error),
                      "row %zu is refused: %s", i, bad[i]);
        cr_expect_eq(error.code, ERROR_PULL_FAILED, "row %zu", i);
        cr_expect_null(strstr(error.message, "s3cret"), "row %zu hides it: %s", i, error.message);
    }
}

/* A directory with one credential helper in it, first in the PATH. */
static char directory[] = "/tmp/larder-helper-XXXXXX";

static void install_helper(const char *script)
{
    char path[128];
    cr_assert(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/docker-credential-test", directory);
    FILE *file = fopen(path, "we");
    cr_assert(file);
    fprintf(file, "#!/bin/sh\n%s\n", script);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, 0700), 0);
    const char *old = getenv("PATH");
    char both[4096];
    snprintf(both, sizeof(both), "%s:%s", directory, old ? old : "/bin");
    setenv("PATH", both, 1);
}

static void remove_helper(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/docker-credential-test", directory);
    unlink(path);
    rmdir(directory);
}

Test(docker_config, a_helper_is_asked_for_the_server_on_its_stdin, .fini = remove_helper)
{
    cleanup_arena struct arena arena = {0};
    struct docker_login login;
    struct error error = {0};
    install_helper(
        "[ \"$1\" = get ] && printf '{\"Username\":\"u\",\"Secret\":\"%s\"}' \"$(cat)\"");
    cr_assert(credential_helper_get(&arena, "test", "ghcr.io", NULL, &login, &error), "%s",
              error.message);
    cr_assert_eq(login.kind, DOCKER_LOGIN_PASSWORD);
    cr_expect_str_eq(login.username, "u");
    cr_expect_str_eq(login.secret, "ghcr.io");
}

Test(docker_config, a_helpers_token_is_an_identity_token, .fini = remove_helper)
{
    cleanup_arena struct arena arena = {0};
    struct docker_login login;
    struct error error = {0};
    install_helper("echo '{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"t\"}'");
    cr_assert(credential_helper_get(&arena, "test", "ghcr.io", NULL, &login, &error), "%s",
              error.message);
    cr_assert_eq(login.kind, DOCKER_LOGIN_IDENTITY_TOKEN);
    cr_expect_str_eq(login.secret, "t");
}

Test(docker_config, a_helper_that_knows_nothing_means_no_login, .fini = remove_helper)
{
    cleanup_arena struct arena arena = {0};
    struct docker_login login;
    struct error error = {0};
    install_helper("echo 'credentials not found in native keychain'; exit 1");
    cr_assert(credential_helper_get(&arena, "test", "ghcr.io", NULL, &login, &error), "%s",
              error.message);
    cr_expect_eq(login.kind, DOCKER_LOGIN_NONE);
}

Test(docker_config, a_helper_that_fails_or_floods_fails_the_login, .fini = remove_helper)
{
    cleanup_arena struct arena arena = {0};
    struct docker_login login;
    struct error error = {0};
    install_helper("[ \"$(cat)\" = flood ] && exec yes s3cret; echo s3cret; exit 3");
    cr_expect_not(credential_helper_get(&arena, "test", "flood", NULL, &login, &error));
    cr_expect_not(credential_helper_get(&arena, "test", "ghcr.io", NULL, &login, &error));
    cr_expect_null(strstr(error.message, "s3cret"), "%s", error.message);
    cr_expect_not(credential_helper_get(&arena, "no-such-helper", "x", NULL, &login, &error));
}

static void *cancel_soon(void *cancel)
{
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    atomic_store((atomic_bool *)cancel, true);
    return NULL;
}

static void expect_that_a_cancel_ends(const char *script)
{
    cleanup_arena struct arena arena = {0};
    struct docker_login login;
    struct error error = {0};
    atomic_bool cancel = false;
    pthread_t thread;
    time_t begun = time(NULL);
    install_helper(script);
    cr_assert_eq(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    cr_expect_not(credential_helper_get(&arena, "test", "ghcr.io", &cancel, &login, &error));
    cr_expect_eq(error.code, ERROR_PULL_CANCELLED, "%s", error.message);
    cr_expect_lt(time(NULL) - begun, CREDENTIAL_HELPER_SECONDS / 2);
    pthread_join(thread, NULL);
}

Test(docker_config, a_cancel_does_not_wait_for_a_helper_that_says_nothing, .fini = remove_helper)
{
    expect_that_a_cancel_ends("exec sleep 60");
}

Test(docker_config, a_cancel_does_not_wait_for_a_helper_that_does_not_end, .fini = remove_helper)
{
    expect_that_a_cancel_ends("echo '{\"Username\":\"u\",\"Secret\":\"t\"}'; exec sleep 60 >&-");
}

Test(docker_config, a_missing_file_is_an_error_only_when_it_was_asked_for)
{
    cleanup_arena struct arena arena = {0};
    struct docker_login login;
    struct error error = {0};
    setenv("DOCKER_CONFIG", "/nonexistent", 1);
    cr_expect(credentials_load(&arena, NULL, "ghcr.io", NULL, &login, &error), "%s", error.message);
    cr_expect_eq(login.kind, DOCKER_LOGIN_NONE);
    cr_expect_not(credentials_load(&arena, "/nonexistent/c.json", "ghcr.io", NULL, &login, &error));
}
