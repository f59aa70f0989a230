#include "server/options.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { MAX_WORDS = 8 };

static bool parse(const char *const *words, struct options *options, struct error *error)
{
    static char text[MAX_WORDS][64]; /* options keep pointing there */
    char *argv[MAX_WORDS] = {NULL};
    int argc = 0;
    for (; words[argc]; argc++) {
        snprintf(text[argc], sizeof(text[argc]), "%s", words[argc]);
        argv[argc] = text[argc];
    }
    return options_parse(OPTIONS_SERVE, argc, argv, options, error);
}

static void clear_environment(void)
{
    clearenv();
    setenv("HOME", "/home/someone", 1);
}

Test(options, defaults_are_those_of_the_contract, .init = clear_environment)
{
    static const char *const words[] = {NULL};
    cleanup_options struct options options = {0};
    struct error error = {0};
    cr_assert(parse(words, &options, &error), "%s", error.message);
    cr_assert_eq(options.listen.count, 1);
    cr_expect_str_eq(options.listen.values[0], "127.0.0.1:8420");
    cr_expect_null(options.database);
    cr_expect_null(options.platform);
    cr_expect_null(options.log_format);
    cr_expect_eq(options.pull_jobs, 2);
    cr_expect_eq(options.layer_jobs, 4);
    cr_expect_eq(options.max_image_bytes, 64ULL << 30);
    cr_expect_eq(options.max_layer_bytes, 20ULL << 30);
    cr_expect_eq(options.max_image_layers, 128);
    cr_expect_eq(options.cache_bytes, 64 << 20);
    cr_expect_eq(options.max_connections, 4096);
    cr_expect_eq(options.max_connections_per_address, 2048);
    cr_expect_eq(options.max_staleness_ms, 1000);
    cr_expect_eq(options.max_stale_if_error_ms, 5 * 60 * 1000);
    cr_expect(!options.no_auth);
    if (geteuid() == 0)
        cr_expect_str_eq(options.data_dir, "/var/lib/larder");
}

Test(options, the_blob_directory_is_below_the_data_directory, .init = clear_environment)
{
    static const char *const words[] = {"--data-dir=/d", NULL};
    cleanup_options struct options options = {0};
    struct error error = {0};
    setenv("LARDER_PULL_JOBS", "3", 1);
    cr_assert(parse(words, &options, &error), "%s", error.message);
    cr_expect_str_eq(options.blob_dir, "/d/blobs");
    cr_expect_eq(options.pull_jobs, 3);
}

Test(options, a_flag_wins_over_its_environment_twin, .init = clear_environment)
{
    static const char *const words[] = {"--pull-jobs=5", "--listen=127.0.0.1:0", "--listen=unix:/s",
                                        NULL};
    cleanup_options struct options options = {0};
    struct error error = {0};
    setenv("LARDER_PULL_JOBS", "3", 1);
    setenv("LARDER_LISTEN", "127.0.0.1:1", 1);
    setenv("LARDER_INSECURE_REGISTRY", "a:1,b:2", 1);
    setenv("LARDER_NO_AUTH", "true", 1);
    cr_assert(parse(words, &options, &error), "%s", error.message);
    cr_expect_eq(options.pull_jobs, 5);
    cr_assert_eq(options.listen.count, 2);
    cr_expect_str_eq(options.listen.values[1], "unix:/s");
    cr_assert_eq(options.insecure_registries.count, 2);
    cr_expect_str_eq(options.insecure_registries.values[1], "b:2");
    cr_expect(options.no_auth);
}

Test(options, sizes_take_binary_suffixes, .init = clear_environment)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } rows[] = {{"--max-layer-bytes=1", 1},
                {"--max-layer-bytes=5KiB", 5 << 10},
                {"--max-layer-bytes=7MiB", 7 << 20},
                {"--max-layer-bytes=2GiB", 2ULL << 30},
                {"--max-layer-bytes=1TiB", 1ULL << 40}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *words[] = {rows[i].text, NULL};
        cleanup_options struct options options = {0};
        struct error error = {0};
        cr_assert(parse(words, &options, &error), "%s", error.message);
        cr_expect_eq(options.max_layer_bytes, rows[i].bytes, "%s", rows[i].text);
    }
}

Test(options, a_refusal_names_the_flag_and_what_is_allowed, .init = clear_environment)
{
    static const struct {
        const char *words[3];
        const char *name;
        const char *allowed;
    } rows[] = {
        {{"--pull-jobs", "0"}, "--pull-jobs \"0\"", "from 1 to 64"},
        {{"--pull-jobs", "65"}, "--pull-jobs \"65\"", "from 1 to 64"},
        {{"--pull-jobs", "-1"}, "--pull-jobs \"-1\"", "from 1 to 64"},
        {{"--pull-jobs", "2x"}, "--pull-jobs \"2x\"", "from 1 to 64"},
        {{"--pull-jobs", "99999999999999999999"}, "--pull-jobs", "from 1 to 64"},
        {{"--max-layer-bytes", "20GB"}, "--max-layer-bytes \"20GB\"", "20GiB"},
        {{"--max-layer-bytes", "0"}, "--max-layer-bytes \"0\"", "1 byte to 1 EiB"},
        {{"--max-layer-bytes", "99999999TiB"}, "--max-layer-bytes", "1 EiB"},
        {{"--log-format", "xml"}, "--log-format \"xml\"", "text|json"},
        {{"--log-format", "text|json"}, "--log-format", "text|json"},
        {{"--platform"}, "--platform", "OS/ARCH[/VARIANT]"},
        {{"--database="}, "--database", "URI"},
        {{"--database=a", "--database=b"}, "--database", "twice"},
        {{"--frobs", "x"}, "--frobs", "--help"},
        {{"--no-auth=maybe"}, "--no-auth \"maybe\"", "true, false"},
        {{"serve"}, "serve", "--help"},
        {{"-v"}, "-v", "--help"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cleanup_options struct options options = {0};
        struct error error = {0};
        cr_expect(!parse(rows[i].words, &options, &error), "%s must be refused", rows[i].words[0]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT);
        cr_expect(strstr(error.message, rows[i].name) && strstr(error.message, rows[i].allowed),
                  "expected %s and %s in: %s", rows[i].name, rows[i].allowed, error.message);
    }
}

Test(options, a_bad_environment_twin_is_named, .init = clear_environment)
{
    static const char *const words[] = {NULL};
    cleanup_options struct options options = {0};
    struct error error = {0};
    setenv("LARDER_LAYER_JOBS", "many", 1);
    cr_assert(!parse(words, &options, &error));
    cr_expect(strstr(error.message, "LARDER_LAYER_JOBS \"many\""), "%s", error.message);
}

Test(options, migrate_takes_no_flags_of_serve, .init = clear_environment)
{
    char flag[] = "--listen=127.0.0.1:0";
    char *argv[] = {flag, NULL};
    cleanup_options struct options options = {0};
    struct error error = {0};
    cr_expect(!options_parse(OPTIONS_MIGRATE, 1, argv, &options, &error));
}
