#include "store/catalogue/image_reads.h"

#include "database.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(images, .init = database_begin, .fini = database_end);

static const struct platform amd64 = {.os = "linux", .architecture = "amd64"};
static const struct platform arm64 = {.os = "linux", .architecture = "arm64"};
static const struct platform riscv64 = {.os = "linux", .architecture = "riscv64"};

/* Pages of `limit` images, one after the other, as "reference reference …". */
static const char *list_by_pages(const struct image_filter *filter, size_t limit,
                                 struct arena *arena)
{
    const char *all = "";
    const char *token = NULL;
    do {
        struct image_page page;
        struct error error = {0};
        cr_assert(
            catalogue_list_images(database_catalogue, filter, limit, token, arena, &page, &error),
            "%s", error.message);
        cr_expect_leq(page.count, limit, "a page has at most its limit");
        for (size_t i = 0; i < page.count; i++)
            all = arena_printf(arena, "%s%s%s", all, *all ? " " : "", page.images[i].reference);
        token = page.next_page_token;
    } while (token);
    return all;
}

static void add_five(void)
{
    database_sql("SELECT add_image('q.io/old:1', 'linux/amd64', 'm1', NULL, 1, '2026-01-01'),"
                 "       add_image('q.io/b:1', 'linux/amd64', 'm2', NULL, 2, '2026-01-02'),"
                 "       add_image('q.io/a:1', 'linux/arm64', 'm3', NULL, 3, '2026-01-02'),"
                 "       add_image('q.io/a:1', 'linux/amd64', 'm4', NULL, 0, '2026-01-02'),"
                 "       add_image('q.io/new:1', 'linux/amd64', 'm5', NULL, 1, '2026-01-03')");
}

Test(images, pages_of_any_size_give_every_image_once_newest_first)
{
    cleanup_arena struct arena arena = {0};
    const struct image_filter everything = {0};
    cr_expect_str_eq(list_by_pages(&everything, 10, &arena), "", "an empty catalogue has no pages");
    add_five();
    for (size_t limit = 1; limit <= 6; limit++)
        cr_expect_str_eq(list_by_pages(&everything, limit, &arena),
                         "q.io/new:1 q.io/a:1 q.io/a:1 q.io/b:1 q.io/old:1",
                         "pages of %zu: newest first, then by reference and platform", limit);
}

Test(images, the_last_page_has_no_token_even_when_it_is_full)
{
    add_five();
    cleanup_arena struct arena arena = {0};
    struct image_page page;
    struct error error = {0};
    cr_assert(catalogue_list_images(database_catalogue, &(struct image_filter){0}, 5, NULL, &arena,
                                    &page, &error));
    cr_expect_eq(page.count, 5, "all five fit");
    cr_expect_null(page.next_page_token, "and there is nothing behind them");
}

static const char *plan_of(const struct image_filter *filter)
{
    cleanup_arena struct arena arena = {0};
    const char *plan = database_sql(
        arena_printf(&arena,
                     "SET plan_cache_mode = force_generic_plan; PREPARE ask AS %s;"
                     "EXPLAIN (FORMAT JSON) EXECUTE ask (NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
                     "                                   NULL, NULL, NULL, NULL, 100)",
                     image_list_statement(filter)->sql));
    cr_assert_eq(plan[strlen(plan) - 1], ']', "all of it is here: %s", plan);
    return plan;
}

Test(images, a_page_is_read_in_its_order_and_one_image_by_its_index)
{
    static const struct image_filter many[] = {
        {0},
        {.os = "linux", .architecture = "amd64"},
        {.reference_glob = "q.io/*"},
        {.in_use = IN_USE_NO},
    };
    database_sql("SELECT count(add_image('q.io/i' || n, 'linux/amd64', 'm' || n, NULL, 1,"
                 "           '2026-01-01'::timestamptz + n * interval '1 minute'))"
                 "  FROM generate_series(1, 3000) n;"
                 "ANALYZE");
    for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
        const char *plan = plan_of(&many[i]);
        cr_expect(strstr(plan, "\"image_refs_newest\"") && !strstr(plan, "Sort\""), "%s", plan);
    }
    cr_expect(strstr(plan_of(&(struct image_filter){.reference = "q.io/i7:latest"}),
                     "\"image_refs_pkey\""));
    cr_expect(strstr(plan_of(&(struct image_filter){.manifest_digest = database_digest("m7")}),
                     "\"image_refs_by_manifest\""));
}

Test(images, filters_select_and_combine)
{
    database_sql("SELECT add_image('docker.io/library/a_b:1', 'linux/amd64', 'm1', NULL, 1, now()),"
                 "       add_image('docker.io/library/axb:1', 'linux/arm64', 'm2', NULL, 1, now()),"
                 "       add_image('ghcr.io/x/y%z:1', 'windows/amd64', 'm3', NULL, 1, now());"
                 "INSERT INTO sandboxes (id, host, rootfs, reference, manifest_digest, held_digest,"
                 "    expires_at) VALUES"
                 "    ('live', 'h', '{\"type\":\"oci\"}', 'r', digest_of('m1'), digest_of('m1'),"
                 "     NULL),"
                 "    ('gone', 'h', '{\"type\":\"oci\"}', 'r', digest_of('m2'), digest_of('m2'),"
                 "     now() - interval '1 second')");
    const struct {
        struct image_filter filter;
        const char *found;
        const char *why;
    } rows[] = {
        {{.reference = "docker.io/library/axb:1"}, "docker.io/library/axb:1", "exact"},
        {{.reference = "docker.io/library/a*"}, "", "an exact reference is no glob"},
        {{.reference_glob = "docker.io/*"},
         "docker.io/library/a_b:1 docker.io/library/axb:1",
         "* matches over slashes"},
        {{.reference_glob = "*a_b:1"}, "docker.io/library/a_b:1", "_ matches itself only"},
        {{.reference_glob = "ghcr.io/x/y%z:*"}, "ghcr.io/x/y%z:1", "% matches itself"},
        {{.reference_glob = "ghcr.io%"}, "", "% is no wildcard"},
        {{.reference_glob = "ghcr.io/x/y\\%z:1"}, "", "a backslash matches itself"},
        {{.architecture = "arm64"}, "docker.io/library/axb:1", "by architecture"},
        {{.os = "windows"}, "ghcr.io/x/y%z:1", "by os"},
        {{.os = "linux", .architecture = "amd64"}, "docker.io/library/a_b:1", "both must match"},
        {{.in_use = IN_USE_YES}, "docker.io/library/a_b:1", "an expired sandbox uses nothing"},
        {{.in_use = IN_USE_NO}, "docker.io/library/axb:1 ghcr.io/x/y%z:1", "the others are free"},
        {{.manifest_digest = database_digest("m3")}, "ghcr.io/x/y%z:1", "by manifest"},
    };
    cleanup_arena struct arena arena = {0};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_str_eq(list_by_pages(&rows[i].filter, 10, &arena), rows[i].found, "%s: %s",
                         rows[i].why, rows[i].found);
}

Test(images, a_snapshot_is_a_use)
{
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', NULL, 1, now());"
                 "INSERT INTO snapshots VALUES ('s', digest_of('m1'), digest_of('m1'))");
    cleanup_arena struct arena arena = {0};
    cr_expect_str_eq(list_by_pages(&(struct image_filter){.in_use = IN_USE_YES}, 10, &arena),
                     "q.io/a:1", "what a snapshot holds is in use");
}

Test(images, a_page_token_that_is_not_ours_is_refused)
{
    add_five();
    cleanup_arena struct arena arena = {0};
    static const char *const bad[] = {"", "x", "!!!!", "WyJzYW5kYm94ZXMiLCJhIl0",
                                      "WyJpbWFnZXMiLCJub3doZW4iLCJhIiwiYiIsImMiLCJkIl0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct image_page page;
        struct error error = {0};
        cr_expect_not(catalogue_list_images(database_catalogue, &(struct image_filter){0}, 2,
                                            bad[i], &arena, &page, &error),
                      "\"%s\" is refused", bad[i]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "\"%s\" is an argument error, not %s",
                     bad[i], error.message);
    }
}

static const char *find(const char *text, const struct platform *wanted,
                        const struct platform *preferred)
{
    static char found[512];
    cleanup_arena struct arena arena = {0};
    struct reference reference;
    struct image_handle handle;
    struct error error = {0};
    cr_assert(reference_parse(text, &reference, &error), "%s", error.message);
    const struct platform_choice choice = {.wanted = wanted, .preferred = preferred};
    if (catalogue_find_image(database_catalogue, &reference, &choice, &arena, &handle, &error))
        snprintf(found, sizeof(found), "%s %s", handle.reference, handle.architecture);
    else
        snprintf(found, sizeof(found), "%s: %s", error_code_name(error.code), error.message);
    return found;
}

Test(images, equivalent_spellings_find_one_image)
{
    database_sql(
        "SELECT add_image('docker.io/library/a:latest', 'linux/amd64', 'm1', NULL, 1, now())");
    static const char *const spellings[] = {"a", "a:latest", "library/a", "docker.io/a",
                                            "index.docker.io/library/a:latest"};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++)
        cr_expect_str_eq(find(spellings[i], NULL, &amd64), "docker.io/library/a:latest amd64",
                         "%s is that image", spellings[i]);
    cr_expect_str_eq(find("a:other", NULL, &amd64),
                     "ImageNotFound: the image \"docker.io/library/a:other\" is not in the cache",
                     "another tag is another image");
}

Test(images, a_digest_finds_by_manifest_and_by_index)
{
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', 'index', 1, now()),"
                 "       add_image('q.io/a:1', 'linux/arm64', 'm2', 'index', 1, now())");
    cleanup_arena struct arena arena = {0};
    const char *by_manifest = arena_printf(&arena, "q.io/a@%s", database_digest("m2"));
    const char *by_index = arena_printf(&arena, "q.io/a@%s", database_digest("index"));
    const char *with_tag = arena_printf(&arena, "q.io/a:other@%s", database_digest("m1"));
    const char *elsewhere = arena_printf(&arena, "q.io/b@%s", database_digest("m1"));
    cr_expect_str_eq(find(by_manifest, NULL, &amd64), "q.io/a:1 arm64",
                     "a manifest's digest says the platform");
    cr_expect_str_eq(find(by_index, NULL, &arm64), "q.io/a:1 arm64", "an index has several");
    cr_expect_str_eq(find(by_index, &amd64, &arm64), "q.io/a:1 amd64", "of which one is wanted");
    cr_expect_str_eq(find(with_tag, NULL, &amd64), "q.io/a:1 amd64", "the digest decides");
    cr_expect(strncmp(find(elsewhere, NULL, &amd64), "ImageNotFound", 13) == 0,
              "a digest counts in its own repository only");
}

Test(images, the_platform_is_the_wanted_the_default_or_the_only_one)
{
    database_sql("SELECT add_image('q.io/two:1', 'linux/amd64', 'm1', NULL, 1, now()),"
                 "       add_image('q.io/two:1', 'linux/arm64', 'm2', NULL, 1, now()),"
                 "       add_image('q.io/one:1', 'linux/arm64', 'm2', NULL, 1, now())");
    cr_expect_str_eq(find("q.io/two:1", NULL, &amd64), "q.io/two:1 amd64", "the default");
    cr_expect_str_eq(find("q.io/two:1", NULL, &arm64), "q.io/two:1 arm64", "another default");
    cr_expect_str_eq(find("q.io/two:1", &arm64, &amd64), "q.io/two:1 arm64", "the wanted one");
    cr_expect_str_eq(find("q.io/one:1", NULL, &amd64), "q.io/one:1 arm64", "the only one");
    cr_expect_str_eq(find("q.io/two:1", NULL, &riscv64),
                     "PlatformNotFound: the image \"q.io/two:1\" is in the cache for linux/amd64, "
                     "linux/arm64, not for linux/riscv64; name one with platform=",
                     "neither of two others");
    cr_expect(strncmp(find("q.io/one:1", &amd64, &amd64), "PlatformNotFound", 16) == 0,
              "a wanted platform is never another one");
}

Test(images, inspect_gives_the_layers_of_that_platform_bottom_to_top)
{
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', 'index', 3, '2026-01-01'),"
                 "       add_image('q.io/a:1', 'linux/arm64', 'm2', 'index', 0, '2026-01-01')");
    cleanup_arena struct arena arena = {0};
    struct reference reference;
    struct image_detail detail;
    struct error error = {0};
    cr_assert(reference_parse("q.io/a:1", &reference, &error));
    const struct platform_choice default_amd64 = {.preferred = &amd64};
    cr_assert(catalogue_inspect_image(database_catalogue, &reference, &default_amd64, &arena,
                                      &detail, &error),
              "%s", error.message);
    cr_expect_eq(detail.layer_count, 3, "three layers");
    cr_expect_eq(detail.handle.layer_count, 3, "as the handle says");
    cr_expect_eq(detail.handle.created_at_ms, 1767225600000, "2026-01-01 in milliseconds");
    cr_expect_eq(detail.fsmeta_size_bytes, 8192);
    cr_expect_eq(detail.vmdk_size_bytes, 512);
    cr_expect_not_null(strstr(detail.config_json, database_digest("config m1")),
                       "its own config: %s", detail.config_json);
    for (size_t i = 0; i < detail.layer_count; i++) {
        char seed[16];
        snprintf(seed, sizeof(seed), "layer %zu", i);
        cr_expect_eq(detail.layers[i].position, (int64_t)i, "layer %zu is at its place", i);
        cr_expect_str_eq(detail.layers[i].diff_id, database_digest(seed));
        cr_expect_eq(detail.layers[i].erofs_size_bytes, 4096 * ((int64_t)i + 1));
    }
    const struct platform_choice wants_arm64 = {.wanted = &arm64, .preferred = &amd64};
    cr_assert(catalogue_inspect_image(database_catalogue, &reference, &wants_arm64, &arena, &detail,
                                      &error),
              "%s", error.message);
    cr_expect_eq(detail.layer_count, 0, "an image may have no layers");
    cr_expect_not_null(strstr(detail.config_json, database_digest("config m2")),
                       "but has its config: %s", detail.config_json);
}
