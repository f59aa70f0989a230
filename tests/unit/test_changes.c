#include "store/catalogue/changes.h"

#include "database.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

TestSuite(changes, .init = database_begin, .fini = database_end);

static struct arena arena;
static char snapshot[4096];

static struct changes read_changes(const char *since)
{
    struct changes changes;
    struct error error = {0};
    cr_assert(catalogue_read_changes(database_catalogue, since, &arena, &changes, &error), "%s",
              error.message);
    snprintf(snapshot, sizeof(snapshot), "%s", changes.snapshot);
    return changes;
}

/* Since the last time, in one line; in any order, each key once however often it came. */
static const char *keys_since(void)
{
    struct changes changes = read_changes(snapshot);
    const char *line = changes.everything ? "everything" : "";
    for (size_t i = 0; i < changes.count; i++) {
        const char *key = arena_printf(&arena, "[%s]", changes.keys[i]);
        if (!strstr(line, key))
            line = arena_printf(&arena, "%s%s", line, key);
    }
    return line;
}

static void expect_keys(const char *after, const char *const *wanted, size_t count)
{
    const char *keys = keys_since();
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        const char *key = arena_printf(&arena, "[%s]", wanted[i]);
        cr_expect(strstr(keys, key), "%s: %s is missing in %s", after, key, keys);
        length += strlen(key);
    }
    cr_expect_eq(strlen(keys), length, "%s: there is more in %s", after, keys);
}
#define EXPECT_KEYS(after, ...)                                                                    \
    expect_keys(after, (const char *const[]){__VA_ARGS__},                                         \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void add(const char *reference, const char *manifest)
{
    database_sql(arena_printf(&arena, "SELECT add_image('%s', 'linux/amd64', '%s', NULL, 1, now())",
                              reference, manifest));
}

Test(changes, without_a_snapshot_anything_may_have_changed)
{
    cr_expect(read_changes(NULL).everything);
    cr_expect_str_eq(keys_since(), "", "since then nothing has");
}

Test(changes, what_comes_moves_is_used_and_goes_is_told_once)
{
    const char *m1 = arena_printf(&arena, "q.io/a@%s", database_digest("m1"));
    const char *m2 = arena_printf(&arena, "q.io/a@%s", database_digest("m2"));
    add("q.io/other:1", "m2"); /* so that the manifest is here */
    (void)read_changes(NULL);
    add("q.io/a:1", "m1");
    EXPECT_KEYS("come", "q.io/a:1", m1);
    cr_expect_str_eq(keys_since(), "", "it was told");
    database_sql("UPDATE image_refs SET last_used_at = now() WHERE reference = 'q.io/a:1'");
    EXPECT_KEYS("used", "q.io/a:1", m1);
    database_sql("UPDATE image_refs SET manifest_digest = digest_of('m2')"
                 " WHERE reference = 'q.io/a:1'");
    EXPECT_KEYS("moved", "q.io/a:1", m1, m2);
    database_sql("UPDATE image_refs SET last_used_at = last_used_at");
    cr_expect_str_eq(keys_since(), "", "nothing changed in it");
    database_sql("DELETE FROM image_refs WHERE reference = 'q.io/a:1'");
    EXPECT_KEYS("gone", "q.io/a:1", m2);
}

Test(changes, an_image_is_told_by_every_digest_that_finds_it)
{
    (void)read_changes(NULL);
    const char *tagged = arena_printf(&arena, "q.io/a:1@%s", database_digest("index"));
    database_sql(arena_printf(
        &arena, "SELECT add_image('%s', 'linux/amd64', 'm1', 'index', 1, now())", tagged));
    EXPECT_KEYS("come", tagged, arena_printf(&arena, "q.io/a@%s", database_digest("m1")),
                arena_printf(&arena, "q.io/a@%s", database_digest("index")));
}

Test(changes, the_key_of_a_reference_is_the_one_that_is_told)
{
    static const struct {
        const char *reference;
        const char *key;
    } cases[] = {
        {"q.io/a:1", "q.io/a:1"},
        {"q.io/a@sha256:" /* */ "0000000000000000000000000000000000000000000000000000000000000001",
         "q.io/a@sha256:0000000000000000000000000000000000000000000000000000000000000001"},
        {"q.io/a:1@sha256:0000000000000000000000000000000000000000000000000000000000000001",
         "q.io/a@sha256:0000000000000000000000000000000000000000000000000000000000000001"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct reference reference;
        struct error error;
        char key[REFERENCE_TEXT_SIZE];
        cr_assert(reference_parse(cases[i].reference, &reference, &error));
        change_key_of(&reference, key);
        cr_expect_str_eq(key, cases[i].key);
    }
}

Test(changes, a_change_is_told_when_it_is_committed_however_long_that_takes)
{
    add("q.io/a:1", "m1");
    struct error error = {0};
    struct catalogue_session *slow = catalogue_acquire(database_catalogue, &error);
    static const struct statement use = {
        "test_use", "UPDATE image_refs SET last_used_at = now() + interval '1 hour'"};
    struct rows rows;
    cr_assert(session_begin(slow, &error));
    cr_assert(session_query(slow, &use, NULL, 0, &arena, &rows, &error), "%s", error.message);
    (void)read_changes(NULL);
    add("q.io/b:1", "m2"); /* later transactions come and go */
    cr_expect(strstr(keys_since(), "[q.io/b:1]"));
    cr_expect_str_eq(keys_since(), "", "the slow one is not committed");
    cr_assert(session_commit(slow, &error));
    cr_expect(strstr(keys_since(), "[q.io/a:1]"), "now it is");
    cr_expect_str_eq(keys_since(), "");
    catalogue_release(slow);
}

Test(changes, what_was_rolled_back_is_not_told)
{
    add("q.io/a:1", "m1");
    (void)read_changes(NULL);
    database_sql("BEGIN; UPDATE image_refs SET last_used_at = now() + interval '1 hour'; ROLLBACK");
    cr_expect_str_eq(keys_since(), "");
}

Test(changes, a_change_of_what_images_are_made_of_is_a_change_of_everything)
{
    static const char *const statements[] = {
        "UPDATE layers SET erofs_size_bytes = erofs_size_bytes + 4096",
        "UPDATE manifests SET fsmeta_size_bytes = fsmeta_size_bytes + 4096",
        "UPDATE configs SET detail = '{\"digest\": \"other\"}'",
        "UPDATE manifest_layers SET compressed_size_bytes = compressed_size_bytes + 1",
        "TRUNCATE image_refs",
    };
    add("q.io/a:1", "m1");
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        (void)read_changes(NULL);
        database_sql(statements[i]);
        cr_expect_str_eq(keys_since(), "everything", "%s", statements[i]);
    }
}

Test(changes, a_transaction_tells_its_own_and_nobody_elses)
{
    static const struct statement log = {"test_log",
                                         "INSERT INTO change_log (key) VALUES ('mine')"};
    struct error error = {0};
    struct rows rows;
    struct changes own;
    database_sql("INSERT INTO change_log (key) VALUES ('other')");
    struct catalogue_session *session = catalogue_acquire(database_catalogue, &error);
    cr_assert(session_begin(session, &error));
    cr_assert(session_read_own_changes(session, &arena, &own, &error), "%s", error.message);
    cr_expect_eq(own.count, 0);
    for (int i = 0; i < 2; i++)
        cr_assert(session_query(session, &log, NULL, 0, &arena, &rows, &error), "%s",
                  error.message);
    cr_assert(session_read_own_changes(session, &arena, &own, &error), "%s", error.message);
    cr_assert(session_commit(session, &error));
    catalogue_release(session);
    cr_assert_eq(own.count, 1);
    cr_expect_str_eq(own.keys[0], "mine");
}

Test(changes, more_than_a_node_wants_to_read_is_everything)
{
    (void)read_changes(NULL);
    database_sql("INSERT INTO change_log (key) SELECT n::text FROM generate_series(1, 10001) n");
    cr_expect_str_eq(keys_since(), "everything");
}

Test(changes, a_later_snapshot_has_made_more_progress)
{
    static const char *const in_order[] = {
        "10:10:",      "10:12:10,11", "10:12:10",       "10:13:10",
        "10:14:10,13", "14:14:",      "15:20:15,17,18", "20:20:"};
    for (size_t i = 1; i < sizeof(in_order) / sizeof(in_order[0]); i++)
        cr_expect_leq(snapshot_progress(in_order[i - 1]), snapshot_progress(in_order[i]),
                      "%s is not later than %s", in_order[i - 1], in_order[i]);
    cr_expect_lt(snapshot_progress("10:12:10,11"), snapshot_progress("10:12:10"),
                 "a transaction ended between them");
}

/* True when there may be more to trim. */
static bool trim(void)
{
    struct error error = {0};
    bool is_more = false;
    cr_assert(catalogue_trim_changes(database_catalogue, &is_more, &error), "%s", error.message);
    return is_more;
}

/* Transactions of other tests, in other databases of the server, keep a mark back as well. */
static void wait_until_over(void)
{
    for (int tries = 0; tries < 3000; tries++) {
        if (strcmp(database_sql("SELECT max(xid) < pg_snapshot_xmin(pg_current_snapshot())"
                                "  FROM change_log"),
                   "t") == 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    cr_assert_fail("a transaction of another test runs for half a minute");
}

static const char *count_log(void)
{
    return database_sql("SELECT count(*) FROM change_log");
}

Test(changes, old_ones_are_trimmed_and_young_ones_kept)
{
    add("q.io/a:1", "m1");
    wait_until_over();
    (void)trim();
    cr_expect_str_eq(count_log(), "2", "they are young");
    cr_expect_str_eq(database_sql("SELECT count(*) FROM change_marks"), "1");
    (void)trim();
    cr_expect_str_eq(database_sql("SELECT count(*) FROM change_marks"), "1", "one a minute");
    database_sql("UPDATE change_marks SET marked_at = now() - interval '11 minutes'");
    add("q.io/b:1", "m2");
    (void)trim();
    cr_expect_str_eq(count_log(), "2", "what the mark saw end is gone, the rest is not");
}

Test(changes, a_long_log_is_trimmed_in_pieces_that_end_within_a_heartbeats_patience)
{
    database_sql("DELETE FROM change_log");
    database_sql(arena_printf(&arena,
                              "INSERT INTO change_log (key)"
                              " SELECT n::text FROM generate_series(1, %d + 1) n",
                              CHANGES_TRIMMED_MAX));
    database_sql("INSERT INTO change_marks VALUES (now() - interval '11 minutes',"
                 "                                 pg_current_xact_id())");
    cr_expect(trim(), "there is more");
    cr_expect_str_eq(count_log(), "1");
    cr_expect_not(trim(), "that was all");
    cr_expect_str_eq(count_log(), "0");
}

Test(changes, one_that_was_committed_late_is_kept_as_long)
{
    struct error error = {0};
    struct catalogue_session *slow = catalogue_acquire(database_catalogue, &error);
    static const struct statement log = {"test_log", "INSERT INTO change_log (key) VALUES ('a')"};
    struct rows rows;
    cr_assert(session_begin(slow, &error));
    cr_assert(session_query(slow, &log, NULL, 0, &arena, &rows, &error), "%s", error.message);
    (void)trim(); /* the mark is made while it runs */
    cr_assert(session_commit(slow, &error));
    catalogue_release(slow);
    database_sql("UPDATE change_marks SET marked_at = now() - interval '11 minutes'");
    (void)trim();
    cr_expect_str_eq(count_log(), "1", "it was not over when the mark was made");
}
