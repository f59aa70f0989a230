#include "store/catalogue/holders.h"
#include "store/catalogue/removal.h"

#include "database.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

TestSuite(holders, .init = database_begin, .fini = database_end);

static const struct platform amd64 = {.os = "linux", .architecture = "amd64"};
static const struct platform_choice by_default = {.preferred = &amd64};
static const char oci[] = "{\"type\":\"oci\",\"reference\":\"q.io/a:1\"}";

static struct reference parsed(const char *text)
{
    struct reference reference;
    struct error error = {0};
    cr_assert(reference_parse(text, &reference, &error), "%s", error.message);
    return reference;
}

/* Registers an oci sandbox of q.io/a:1; 0 seconds: for ever. */
static bool put(const char *id, int64_t ttl_seconds, struct arena *arena, struct sandbox *sandbox,
                bool *created, struct error *error)
{
    struct reference reference = parsed("q.io/a:1");
    const struct sandbox_registration registration = {.id = id,
                                                      .host = "host-1",
                                                      .rootfs_json = oci,
                                                      .reference = &reference,
                                                      .choice = &by_default,
                                                      .expires = ttl_seconds > 0,
                                                      .ttl_seconds = ttl_seconds};
    return catalogue_put_sandbox(database_catalogue, &registration, arena, sandbox, created, error);
}

static void must_put(const char *id, int64_t ttl_seconds, struct arena *arena,
                     struct sandbox *sandbox, bool *created)
{
    struct error error = {0};
    cr_assert(put(id, ttl_seconds, arena, sandbox, created, &error), "%s is registered: %s", id,
              error.message);
}

static void add_image(void)
{
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', 'index', 2, '2026-01-01')");
}

/* The message's code, or "found". */
static const char *find_code(const char *id, struct arena *arena, struct sandbox *sandbox)
{
    struct error error = {0};
    return catalogue_find_sandbox(database_catalogue, id, arena, sandbox, &error)
               ? "found"
               : error_code_name(error.code);
}

Test(holders, a_sandbox_gets_the_whole_of_its_image_and_is_found_with_it)
{
    add_image();
    cleanup_arena struct arena arena = {0};
    struct sandbox sandbox;
    struct sandbox again;
    bool created = false;
    must_put("s1", 0, &arena, &sandbox, &created);
    cr_expect(created, "it is new");
    cr_expect_not(sandbox.expires, "without a ttl it lives until it is released");
    cr_assert_not_null(sandbox.image, "an oci sandbox has an image");
    cr_expect_eq(sandbox.image->layer_count, 2, "with its layers");
    cr_assert_str_eq(find_code("s1", &arena, &again), "found");
    cr_expect_eq(again.created_at_ms, sandbox.created_at_ms);
    cr_expect_str_eq(again.rootfs_json, oci, "the rootfs is as it was given");
    cr_expect_str_eq(again.image->handle.manifest_digest, database_digest("m1"));
    cr_expect_eq(again.image->layer_count, 2, "the same layers");
    cr_expect_str_eq(again.image->layers[1].diff_id, database_digest("layer 1"), "in order");
    cr_expect_not_null(again.image->config_json, "and the config");
    cr_expect_eq(again.image->handle.last_used_at_ms, sandbox.image->handle.last_used_at_ms);
}

Test(holders, a_start_moves_last_used_once_a_minute_at_most)
{
    static const struct {
        const char *age;
        const char *moved;
    } rows[] = {{"59 seconds", "f"}, {"61 seconds", "t"}, {"1 year", "t"}};
    add_image();
    cleanup_arena struct arena arena = {0};
    struct sandbox sandbox;
    bool created = false;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        database_sql(arena_printf(
            &arena, "UPDATE image_refs SET last_used_at = now() - interval '%s'", rows[i].age));
        must_put("s1", 0, &arena, &sandbox, &created);
        cr_expect_str_eq(
            database_sql("SELECT last_used_at > now() - interval '30 seconds' FROM image_refs"),
            rows[i].moved, "a start %s after the last use", rows[i].age);
    }
}

/* Of that host alone; true: it was written, the short way or, `is_long`, the other. */
static bool put_as(const char *host, const char *id, const char *image, bool is_long,
                   struct arena *arena)
{
    struct reference reference = parsed(image);
    struct error error = {0};
    struct sandbox sandbox;
    struct registered_sandbox registered = {0};
    bool created = false;
    const struct sandbox_registration registration = {.id = id,
                                                      .host = host,
                                                      .only_host = host,
                                                      .rootfs_json = oci,
                                                      .reference = &reference,
                                                      .choice = &by_default,
                                                      .expires = true,
                                                      .ttl_seconds = 60};
    if (is_long)
        return catalogue_put_sandbox(database_catalogue, &registration, arena, &sandbox, &created,
                                     &error);
    cr_assert(catalogue_register_sandboxes(database_catalogue, &registration, 1, &amd64, arena,
                                           &registered, &error),
              "%s", error.message);
    return registered.is_registered;
}

Test(holders, a_start_that_is_refused_is_no_use_of_the_image)
{
    static const char was_used[] = "SELECT last_used_at > now() - interval '1 hour'"
                                   "  FROM image_refs WHERE reference = 'q.io/a:1'";
    static const char long_ago[] = "UPDATE image_refs SET last_used_at = now() - interval '1 year'";
    add_image();
    cleanup_arena struct arena arena = {0};
    for (int is_long = 0; is_long <= 1; is_long++) {
        database_sql(long_ago);
        cr_expect(put_as("h1", "s1", "q.io/a:1", is_long, &arena));
        cr_expect_str_eq(database_sql(was_used), "t", "its own host's");
        database_sql(long_ago);
        cr_expect_not(put_as("h2", "s1", "q.io/a:1", is_long, &arena));
        cr_expect_str_eq(database_sql(was_used), "f", "another host's, %d", is_long);
    }
}

Test(holders, a_start_does_not_wait_for_another_that_writes_the_same_use, .timeout = 30)
{
    static const struct statement use = {"test_use", "UPDATE image_refs SET last_used_at = now()"};
    add_image();
    cleanup_arena struct arena arena = {0};
    struct sandbox sandbox;
    struct rows rows;
    struct error error = {0};
    bool created = false;
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(database_catalogue, &error);
    cr_assert(session && session_begin(session, &error) &&
              session_query(session, &use, NULL, 0, &arena, &rows, &error));
    must_put("s1", 0, &arena, &sandbox, &created);
    cr_expect(created, "while the other one is not committed");
}

Test(holders, sandboxes_whose_lease_ran_out_are_deleted_and_others_are_not)
{
    database_sql("INSERT INTO sandboxes (id, host, rootfs, expires_at)"
                 " SELECT 's' || n, 'h', '{\"type\":\"bind\"}', now() - n * interval '1 second'"
                 "   FROM generate_series(0, 2500) n;"
                 "INSERT INTO sandboxes (id, host, rootfs, expires_at) VALUES"
                 " ('lives', 'h', '{\"type\":\"bind\"}', now() + interval '1 minute'),"
                 " ('for ever', 'h', '{\"type\":\"bind\"}', NULL)");
    static const struct statement renew = {
        "test_renew",
        "UPDATE sandboxes SET expires_at = now() + interval '1 hour' WHERE id = 's7'"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    int64_t expired = 0;
    struct error error = {0};
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(database_catalogue, &error);
    cr_assert(session && session_begin(session, &error) &&
              session_query(session, &renew, NULL, 0, &arena, &rows, &error));
    cr_assert(catalogue_expire_sandboxes(database_catalogue, &expired, &error), "%s",
              error.message);
    cr_expect_eq(expired, 2500, "all but the one that is renewed right now");
    cr_assert(session_commit(session, &error));
    cr_expect_str_eq(database_sql("SELECT string_agg(id, ' ' ORDER BY id) FROM sandboxes"),
                     "for ever lives s7");
}

Test(holders, renewing_moves_the_lease_and_keeps_the_age)
{
    add_image();
    cleanup_arena struct arena arena = {0};
    struct sandbox first;
    struct sandbox second;
    bool created = false;
    must_put("s1", 60, &arena, &first, &created);
    must_put("s1", 3600, &arena, &second, &created);
    cr_expect_not(created, "the same id again renews");
    cr_expect_eq(second.created_at_ms, first.created_at_ms, "it is as old as before");
    cr_expect_gt(second.expires_at_ms, first.expires_at_ms + 3000000, "the lease is longer");
    must_put("s1", 0, &arena, &second, &created);
    cr_expect_not(second.expires, "without a ttl the lease is for ever");
}

Test(holders, a_lease_that_ran_out_holds_nothing_and_its_id_begins_anew)
{
    add_image();
    cleanup_arena struct arena arena = {0};
    struct sandbox sandbox;
    struct sandbox_page page;
    struct error error = {0};
    bool created = false;
    must_put("s1", 60, &arena, &sandbox, &created);
    int64_t created_at_ms = sandbox.created_at_ms;
    database_sql("UPDATE sandboxes SET expires_at = now() - interval '1 ms',"
                 "    created_at = created_at - interval '1 minute'");
    cr_expect_str_eq(find_code("s1", &arena, &sandbox), "SandboxNotFound", "it is not found");
    cr_assert(catalogue_list_sandboxes(database_catalogue, &(struct sandbox_filter){0}, 10, NULL,
                                       &arena, &page, &error));
    cr_expect_eq(page.count, 0, "nor listed");
    must_put("s1", 60, &arena, &sandbox, &created);
    cr_expect(created, "the same id is a new sandbox");
    cr_expect_geq(sandbox.created_at_ms, created_at_ms, "as old as this registration");
    database_sql("UPDATE sandboxes SET expires_at = now() - interval '1 ms'");
    cr_expect_not(catalogue_remove_sandbox(database_catalogue, "s1", NULL, &error));
    cr_expect_eq(error.code, ERROR_SANDBOX_NOT_FOUND, "it cannot be released either");
}

Test(holders, a_live_sandbox_keeps_its_image_when_the_tag_moves)
{
    add_image();
    cleanup_arena struct arena arena = {0};
    struct sandbox sandbox;
    bool created = false;
    must_put("s1", 60, &arena, &sandbox, &created);
    database_sql("SELECT add_image('q.io/b:1', 'linux/amd64', 'm2', NULL, 1, now());"
                 "UPDATE image_refs SET manifest_digest = digest_of('m2')"
                 " WHERE reference = 'q.io/a:1'");
    must_put("s1", 60, &arena, &sandbox, &created);
    cr_expect_str_eq(sandbox.image->handle.manifest_digest, database_digest("m1"),
                     "a renewal keeps what it runs on");
    cr_expect_str_eq(sandbox.image->handle.reference, "q.io/a:1", "by the name it was given");
    must_put("s2", 60, &arena, &sandbox, &created);
    cr_expect_str_eq(sandbox.image->handle.manifest_digest, database_digest("m2"),
                     "a new sandbox gets what the tag means now");
}

Test(holders, after_a_forced_removal_a_sandbox_has_no_image_until_it_is_back)
{
    add_image();
    cleanup_arena struct arena arena = {0};
    struct sandbox sandbox;
    struct removed_image removed;
    struct id_list users;
    struct error error = {0};
    bool created = false;
    struct reference reference = parsed("q.io/a:1");
    must_put("s1", 60, &arena, &sandbox, &created);
    cr_assert(catalogue_remove_image(database_catalogue, &reference, NULL, true, &arena, &removed,
                                     &users, &error),
              "%s", error.message);
    cr_assert_str_eq(find_code("s1", &arena, &sandbox), "found", "the sandbox stays");
    cr_expect_null(sandbox.image, "without its image");
    cr_expect_not(put("s1", 60, &arena, &sandbox, &created, &error));
    cr_expect_eq(error.code, ERROR_IMAGE_NOT_FOUND, "it cannot be renewed: %s", error.message);
    add_image();
    must_put("s1", 60, &arena, &sandbox, &created);
    cr_expect_not(created, "it is the same sandbox");
    cr_expect_str_eq(database_sql("SELECT held_digest = digest_of('m1') FROM sandboxes"), "t",
                     "and holds its image again");
}

Test(holders, bind_and_disk_hold_no_image)
{
    static const char *const sources[] = {"{\"type\":\"bind\",\"path\":\"/srv\"}",
                                          "{\"type\":\"disk\",\"path\":\"/a.qcow2\"}"};
    cleanup_arena struct arena arena = {0};
    for (size_t i = 0; i < 2; i++) {
        const struct sandbox_registration registration = {
            .id = "s1", .host = "h", .rootfs_json = sources[i]};
        struct sandbox sandbox;
        struct error error = {0};
        bool created = false;
        cr_assert(catalogue_put_sandbox(database_catalogue, &registration, &arena, &sandbox,
                                        &created, &error),
                  "%s", error.message);
        cr_expect_null(sandbox.image, "%s has no image", sources[i]);
        cr_assert_str_eq(find_code("s1", &arena, &sandbox), "found");
        cr_expect_str_eq(sandbox.rootfs_json, sources[i], "renewing changes the source");
    }
}

Test(holders, what_no_sandbox_can_be_is_refused)
{
    static const struct {
        const char *id;
        const char *host;
        const char *rootfs;
        int64_t ttl_seconds;
    } bad[] = {
        {"", "h", "{\"type\":\"bind\"}", 1},     {"s", "", "{\"type\":\"bind\"}", 1},
        {"s", "h", "{\"type\":\"oci\"}", 1},     {"s", "h", "{", 1},
        {"\xff", "h", "{\"type\":\"bind\"}", 1}, {"s", "h", "{\"type\":\"bind\"}", INT64_MAX},
    };
    cleanup_arena struct arena arena = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct sandbox_registration registration = {.id = bad[i].id,
                                                          .host = bad[i].host,
                                                          .rootfs_json = bad[i].rootfs,
                                                          .expires = true,
                                                          .ttl_seconds = bad[i].ttl_seconds};
        struct sandbox sandbox;
        struct error error = {0};
        bool created = false;
        cr_expect_not(catalogue_put_sandbox(database_catalogue, &registration, &arena, &sandbox,
                                            &created, &error));
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "row %zu is an argument error, not: %s", i,
                     error.message);
    }
    cr_expect_str_eq(database_sql("SELECT count(*) FROM sandboxes"), "0", "nothing was written");
}

Test(holders, lists_page_by_id_and_filter)
{
    add_image();
    database_sql(
        "SELECT add_image('q.io/b:1', 'linux/amd64', 'm2', NULL, 1, now());"
        "INSERT INTO sandboxes (id, host, rootfs, reference, manifest_digest, held_digest)"
        " SELECT 's' || n, 'h' || n % 2, '{\"type\":\"oci\"}',"
        "     CASE n % 3 WHEN 0 THEN 'q.io/a:1' ELSE 'q.io/b:1' END, d, d"
        "   FROM generate_series(1, 9) n,"
        "        LATERAL (SELECT digest_of(CASE n % 3 WHEN 0 THEN 'm1' ELSE 'm2' END)) x(d)");
    const struct {
        struct sandbox_filter filter;
        const char *ids;
    } rows[] = {
        {{0}, "s1 s2 s3 s4 s5 s6 s7 s8 s9"},
        {{.host = "h0"}, "s2 s4 s6 s8"},
        {{.reference = "q.io/a:1"}, "s3 s6 s9"},
        {{.manifest_digest = database_digest("m2")}, "s1 s2 s4 s5 s7 s8"},
        {{.host = "h1", .reference = "q.io/a:1"}, "s3 s9"},
        {{.host = "nobody"}, ""},
    };
    cleanup_arena struct arena arena = {0};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *ids = "";
        struct sandbox_page page = {0};
        do {
            struct error error = {0};
            cr_assert(catalogue_list_sandboxes(database_catalogue, &rows[i].filter, 2,
                                               page.next_page_token, &arena, &page, &error),
                      "%s", error.message);
            for (size_t j = 0; j < page.count; j++) {
                ids = arena_printf(&arena, "%s%s%s", ids, *ids ? " " : "", page.sandboxes[j].id);
                bool is_a = strcmp(page.sandboxes[j].image->handle.reference, "q.io/a:1") == 0;
                cr_expect_eq(page.sandboxes[j].image->layer_count, is_a ? 2 : 1,
                             "%s has the layers of its own image", page.sandboxes[j].id);
            }
        } while (page.next_page_token);
        cr_expect_str_eq(ids, rows[i].ids, "row %zu: %s, not %s", i, rows[i].ids, ids);
    }
}

Test(holders, a_host_that_died_lets_go_of_all_it_had)
{
    database_sql("INSERT INTO sandboxes (id, host, rootfs)"
                 " SELECT 's' || n, 'h' || n % 2, '{\"type\":\"bind\"}'"
                 "   FROM generate_series(1, 9) n");
    struct error error = {0};
    cr_assert(catalogue_remove_host(database_catalogue, "h1", &error), "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT string_agg(id, ' ' ORDER BY id) FROM sandboxes"),
                     "s2 s4 s6 s8", "the other host keeps its own");
    cr_expect(catalogue_remove_host(database_catalogue, "h1", &error), "none is fine");
    cr_expect(catalogue_remove_sandbox(database_catalogue, "s2", NULL, &error), "%s",
              error.message);
    cr_expect_not(catalogue_remove_sandbox(database_catalogue, "s2", NULL, &error));
    cr_expect_eq(error.code, ERROR_SANDBOX_NOT_FOUND, "a released sandbox is gone");
}

/* --- against a concurrent removal --- */

struct concurrent_put {
    struct error error;
    bool ok;
};

static void *put_concurrently(void *context)
{
    struct concurrent_put *result = context;
    cleanup_arena struct arena arena = {0};
    struct sandbox sandbox;
    bool created = false;
    result->ok = put("s1", 60, &arena, &sandbox, &created, &result->error);
    return NULL;
}

static const struct statement remove_reference = {"test_remove_reference",
                                                  "DELETE FROM image_refs"};
static const struct statement lock_manifest = {"test_lock_manifest",
                                               "SELECT FROM manifests FOR UPDATE"};
static const struct statement remove_manifest = {"test_remove_manifest", "DELETE FROM manifests"};

static void run(struct catalogue_session *session, const struct statement *statement)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    cr_assert(session_query(session, statement, NULL, 0, &arena, &rows, &error), "%s",
              error.message);
}

/* Puts a sandbox while a removal has its image locked, which then ends this way. */
static struct concurrent_put put_during_removal(bool commit)
{
    struct error error = {0};
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(database_catalogue, &error);
    cr_assert_not_null(session, "%s", error.message);
    cr_assert(session_begin(session, &error));
    run(session, &lock_manifest);

    struct concurrent_put result = {0};
    pthread_t thread;
    pthread_create(&thread, NULL, put_concurrently, &result);
    while (strcmp(database_sql("SELECT count(*) FROM pg_stat_activity WHERE datname ="
                               " current_database() AND wait_event_type = 'Lock'"),
                  "1") != 0)
        usleep(10000);
    run(session, &remove_reference);
    run(session, &remove_manifest);
    if (commit)
        cr_assert(session_commit(session, &error), "%s", error.message);
    else
        session_rollback(session);
    pthread_join(thread, NULL);
    return result;
}

Test(holders, a_put_waits_for_a_removal_and_then_holds_the_image_or_says_that_it_went,
     .timeout = 30)
{
    add_image();
    /* A recent use, so that the put waits for the manifest and not for the reference. */
    database_sql("UPDATE image_refs SET last_used_at = now()");
    struct concurrent_put put_back = put_during_removal(false);
    cr_expect(put_back.ok, "the removal did not happen: %s", put_back.error.message);
    database_sql("DELETE FROM sandboxes; UPDATE image_refs SET last_used_at = now()");
    struct concurrent_put put_late = put_during_removal(true);
    cr_expect_not(put_late.ok, "the removal came first");
    cr_expect_eq(put_late.error.code, ERROR_IMAGE_NOT_FOUND, "which says: %s",
                 put_late.error.message);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM sandboxes"), "0", "nothing is registered");
}

/* --- snapshots and pins --- */

Test(holders, a_snapshot_holds_a_manifest_and_moves_to_another)
{
    add_image();
    database_sql("SELECT add_image('q.io/b:1', 'linux/amd64', 'm2', NULL, 1, now())");
    cleanup_arena struct arena arena = {0};
    struct snapshot snapshot;
    struct error error = {0};
    bool created = false;
    cr_assert(catalogue_put_snapshot(database_catalogue, "p1", database_digest("m1"), &arena,
                                     &snapshot, &created, &error),
              "%s", error.message);
    cr_expect(created, "it is new");
    int64_t created_at_ms = snapshot.created_at_ms;
    cr_assert(catalogue_put_snapshot(database_catalogue, "p1", database_digest("m2"), &arena,
                                     &snapshot, &created, &error),
              "%s", error.message);
    cr_expect_not(created, "the same id again moves it");
    cr_expect_eq(snapshot.created_at_ms, created_at_ms, "it keeps its age");
    cr_assert(catalogue_find_snapshot(database_catalogue, "p1", &arena, &snapshot, &error));
    cr_expect_str_eq(snapshot.manifest_digest, database_digest("m2"));
    cr_expect_str_eq(database_sql("SELECT held_digest = digest_of('m2') FROM snapshots"), "t",
                     "it holds the manifest it moved to");
    cr_expect_not(catalogue_put_snapshot(database_catalogue, "p2", database_digest("m3"), &arena,
                                         &snapshot, &created, &error));
    cr_expect_eq(error.code, ERROR_IMAGE_NOT_FOUND, "a manifest that is not here: %s",
                 error.message);
    cr_assert(catalogue_remove_snapshot(database_catalogue, "p1", &error), "%s", error.message);
    cr_expect_not(catalogue_remove_snapshot(database_catalogue, "p1", &error));
    cr_expect_eq(error.code, ERROR_SNAPSHOT_NOT_FOUND, "it is gone");
}

Test(holders, snapshots_page_by_id_and_filter_by_manifest)
{
    add_image();
    database_sql("SELECT add_image('q.io/b:1', 'linux/amd64', 'm2', NULL, 1, now());"
                 "INSERT INTO snapshots (id, manifest_digest, held_digest)"
                 " SELECT 'p' || n, d, d FROM generate_series(1, 5) n,"
                 "   LATERAL (SELECT digest_of('m' || 1 + n % 2)) x(d)");
    const char *const filters[] = {NULL, database_digest("m1")};
    const char *const expected[] = {"p1 p2 p3 p4 p5 ", "p2 p4 "};
    cleanup_arena struct arena arena = {0};
    for (size_t i = 0; i < 2; i++) {
        const char *ids = "";
        struct snapshot_page page = {0};
        do {
            struct error error = {0};
            cr_assert(catalogue_list_snapshots(database_catalogue, filters[i], 2,
                                               page.next_page_token, &arena, &page, &error),
                      "%s", error.message);
            for (size_t j = 0; j < page.count; j++)
                ids = arena_printf(&arena, "%s%s ", ids, page.snapshots[j].id);
        } while (page.next_page_token);
        cr_expect_str_eq(ids, expected[i], "%s, not %s", expected[i], ids);
    }
}

static bool put_pin(const char *pattern, struct arena *arena, struct pin *pin, bool *created)
{
    struct error error;
    return catalogue_put_pin(database_catalogue, pattern, arena, pin, created, &error);
}

Test(holders, pins_are_a_sorted_set)
{
    cleanup_arena struct arena arena = {0};
    struct error error = {0};
    struct pin_list pins;
    struct pin pin;
    struct pin again;
    bool created = false;
    cr_assert(put_pin("q.io/b:*", &arena, &pin, &created) && created);
    cr_assert(put_pin("q.io/a:1", &arena, &pin, &created) && created);
    cr_assert(put_pin("q.io/a:1", &arena, &again, &created));
    cr_expect_not(created, "a pin is there once");
    cr_expect_str_eq(again.pattern, "q.io/a:1");
    cr_expect_eq(again.created_at_ms, pin.created_at_ms, "it is the same");
    cr_assert(catalogue_list_pins(database_catalogue, &arena, &pins, &error));
    cr_assert_eq(pins.count, 2);
    cr_expect_str_eq(pins.pins[0].pattern, "q.io/a:1", "they come sorted");
    cr_expect(catalogue_remove_pin(database_catalogue, "q.io/a:1", &error));
    cr_expect(catalogue_remove_pin(database_catalogue, "q.io/a:1", &error), "twice is fine");
    cr_expect_not(catalogue_put_pin(database_catalogue, "", &arena, &pin, &created, &error));
    cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "an empty pin is none: %s", error.message);
}
