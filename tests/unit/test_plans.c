/* What is asked all the time reads a few rows, however large the tables are and whatever
 * PostgreSQL's statistics say of them: it may plan for all values at once (and is told to, for
 * starts and event loops), and statistics are from when the tables were others. */
#include "store/catalogue/changes.h"
#include "store/catalogue/condemned.h"
#include "store/catalogue/pulls.h"
#include "store/catalogue/removal.h"
#include "store/file_lock.h"
#include "store/unknown_files.h"

#include "database.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 10, IMAGES = 3000, ROWS_MAX = 200 };

static const char node_id[] = "11111111-2222-4333-8444-555555555555";
static const struct platform amd64 = {.os = "linux", .architecture = "amd64"};
static const struct platform_choice by_default = {.preferred = &amd64};

static struct reference parsed(const char *text)
{
    struct reference reference;
    struct error error;
    cr_assert(reference_parse(text, &reference, &error), "%s", error.message);
    return reference;
}

/* --- what is asked; each as a host or an agent would --- */

static bool find_image(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct reference reference = parsed("q.io/i8:1");
    struct image_handle handle;
    return catalogue_find_image(catalogue, &reference, &by_default, arena, &handle, error);
}

static bool find_image_by_digest(struct catalogue *catalogue, struct arena *arena,
                                 struct error *error)
{
    struct reference reference = parsed(arena_printf(arena, "q.io/i8@%s", database_digest("m8")));
    struct image_handle handle;
    return catalogue_find_image(catalogue, &reference, &by_default, arena, &handle, error);
}

static bool inspect_image(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct reference reference = parsed("q.io/i8:1");
    struct image_detail detail;
    return catalogue_inspect_image(catalogue, &reference, &by_default, arena, &detail, error);
}

static bool list_images(struct catalogue *catalogue, const struct image_filter *filter,
                        struct arena *arena, struct error *error)
{
    struct image_page page;
    return catalogue_list_images(catalogue, filter, PAGE, NULL, arena, &page, error) &&
           page.count > 0;
}

static bool list_newest_images(struct catalogue *catalogue, struct arena *arena,
                               struct error *error)
{
    return list_images(catalogue, &(struct image_filter){0}, arena, error);
}

static bool list_images_of_reference(struct catalogue *catalogue, struct arena *arena,
                                     struct error *error)
{
    return list_images(catalogue, &(struct image_filter){.reference = "q.io/i8:1"}, arena, error);
}

static bool list_images_of_manifest(struct catalogue *catalogue, struct arena *arena,
                                    struct error *error)
{
    const struct image_filter filter = {.manifest_digest = database_digest("m8")};
    return list_images(catalogue, &filter, arena, error);
}

static bool find_sandbox(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct sandbox sandbox;
    return catalogue_find_sandbox(catalogue, "s7", arena, &sandbox, error) && sandbox.image;
}

static bool list_sandboxes(struct catalogue *catalogue, const struct sandbox_filter *filter,
                           struct arena *arena, struct error *error)
{
    struct sandbox_page page;
    return catalogue_list_sandboxes(catalogue, filter, PAGE, NULL, arena, &page, error) &&
           page.count > 0;
}

/* Two pages, each from the one before. */
static bool page_through(struct catalogue *catalogue, const struct sandbox_filter *filter,
                         struct arena *arena, struct error *error)
{
    struct sandbox_page page;
    return catalogue_list_sandboxes(catalogue, filter, PAGE, NULL, arena, &page, error) &&
           catalogue_list_sandboxes(catalogue, filter, PAGE, page.next_page_token, arena, &page,
                                    error) &&
           page.count == PAGE;
}

static bool list_all_sandboxes(struct catalogue *catalogue, struct arena *arena,
                               struct error *error)
{
    return page_through(catalogue, &(struct sandbox_filter){0}, arena, error);
}

static bool page_through_a_large_host(struct catalogue *catalogue, struct arena *arena,
                                      struct error *error)
{
    return page_through(catalogue, &(struct sandbox_filter){.host = "large"}, arena, error);
}

static bool page_through_a_popular_reference(struct catalogue *catalogue, struct arena *arena,
                                             struct error *error)
{
    const struct sandbox_filter filter = {.reference = "q.io/i1:1"};
    return page_through(catalogue, &filter, arena, error);
}

static bool page_through_a_popular_manifest(struct catalogue *catalogue, struct arena *arena,
                                            struct error *error)
{
    const struct sandbox_filter filter = {.manifest_digest = database_digest("m1")};
    return page_through(catalogue, &filter, arena, error);
}

static bool list_sandboxes_of_host(struct catalogue *catalogue, struct arena *arena,
                                   struct error *error)
{
    return list_sandboxes(catalogue, &(struct sandbox_filter){.host = "h7"}, arena, error);
}

static bool list_sandboxes_of_reference(struct catalogue *catalogue, struct arena *arena,
                                        struct error *error)
{
    const struct sandbox_filter filter = {.reference = "q.io/i8:1"};
    return list_sandboxes(catalogue, &filter, arena, error);
}

static bool list_sandboxes_of_manifest(struct catalogue *catalogue, struct arena *arena,
                                       struct error *error)
{
    const struct sandbox_filter filter = {.manifest_digest = database_digest("m8")};
    return list_sandboxes(catalogue, &filter, arena, error);
}

static struct sandbox_registration start_of(const struct reference *reference)
{
    return (struct sandbox_registration){.id = "new",
                                         .host = "h7",
                                         .rootfs_json = "{\"type\":\"oci\"}",
                                         .reference = reference,
                                         .choice = &by_default,
                                         .expires = true,
                                         .ttl_seconds = 60};
}

static bool start(struct catalogue *catalogue, const char *text, struct arena *arena,
                  struct error *error)
{
    struct reference reference = parsed(text);
    const struct sandbox_registration start = start_of(&reference);
    struct registered_sandbox registered = {0};
    return catalogue_register_sandboxes(catalogue, &start, 1, &amd64, arena, &registered, error) &&
           registered.is_registered;
}

static bool start_sandbox(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    return start(catalogue, "q.io/i8:1", arena, error);
}

static bool start_sandbox_by_digest(struct catalogue *catalogue, struct arena *arena,
                                    struct error *error)
{
    return start(catalogue, arena_printf(arena, "q.io/i8@%s", database_digest("m8")), arena, error);
}

static bool start_sandbox_the_long_way(struct catalogue *catalogue, struct arena *arena,
                                       struct error *error)
{
    struct reference reference = parsed("q.io/i8:1");
    const struct sandbox_registration start = start_of(&reference);
    struct sandbox sandbox;
    bool created = false;
    return catalogue_put_sandbox(catalogue, &start, arena, &sandbox, &created, error);
}

static bool end_sandbox(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    (void)arena;
    return catalogue_remove_sandbox(catalogue, "new", NULL, error);
}

static bool hold_snapshot(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct snapshot snapshot;
    bool created = false;
    return catalogue_put_snapshot(catalogue, "new", database_digest("m8"), arena, &snapshot,
                                  &created, error) &&
           catalogue_find_snapshot(catalogue, "new", arena, &snapshot, error) &&
           catalogue_remove_snapshot(catalogue, "new", error);
}

static bool list_snapshots(struct catalogue *catalogue, const char *manifest, struct arena *arena,
                           struct error *error)
{
    struct snapshot_page page;
    return catalogue_list_snapshots(catalogue, manifest, PAGE, NULL, arena, &page, error) &&
           page.count == PAGE;
}

static bool list_all_snapshots(struct catalogue *catalogue, struct arena *arena,
                               struct error *error)
{
    return list_snapshots(catalogue, NULL, arena, error);
}

static bool list_snapshots_of_manifest(struct catalogue *catalogue, struct arena *arena,
                                       struct error *error)
{
    return list_snapshots(catalogue, database_digest("m8"), arena, error);
}

static bool pull_what_is_here(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct reference reference = parsed("q.io/i8:1");
    const struct pull_request request = {.reference = &reference, .platform = &amd64};
    struct image_handle image;
    struct pull pull;
    return catalogue_find_image(catalogue, &reference, &by_default, arena, &image, error) &&
           catalogue_record_cached_pull(catalogue, node_id, &request, &image, arena, &pull,
                                        error) &&
           catalogue_find_pull(catalogue, pull.id, arena, &pull, error);
}

static bool list_pulls(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct pull_page page;
    return catalogue_list_pulls(catalogue, PAGE, NULL, arena, &page, error) &&
           catalogue_list_pulls(catalogue, PAGE, page.next_page_token, arena, &page, error) &&
           page.count == PAGE;
}

static bool read_changes(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct changes changes;
    return catalogue_read_changes(catalogue, "400000:400000:", arena, &changes, error) &&
           !changes.everything;
}

static bool find_unknown_files(struct catalogue *catalogue, struct arena *arena,
                               struct error *error)
{
    struct digest keys[3];
    struct unknown_files unknown;
    bool found = digest_parse(database_digest("m8"), &keys[0]) &&
                 digest_parse(database_digest("condemned 8"), &keys[1]) &&
                 digest_parse(database_digest("nobody's"), &keys[2]);
    for (int kind = 0; found && kind < BLOB_KIND_COUNT; kind++)
        found =
            unknown_files_find(catalogue, (enum blob_kind)kind, keys, 3, arena, &unknown, error) &&
            unknown.count > 0;
    return found;
}

/* --- condemned files: those of "condemned 8", which are in the middle of many --- */

static bool condemned_files(struct blob_id files[2], enum blob_kind one, enum blob_kind other)
{
    files[0].kind = one;
    files[1].kind = other;
    return digest_parse(database_digest("condemned 8"), &files[0].key) &&
           digest_parse(database_digest("condemned 8"), &files[1].key);
}

static bool lock_files(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    (void)arena;
    struct blob_id files[2];
    if (!condemned_files(files, BLOB_LAYER, BLOB_FSMETA))
        return false;
    struct file_lock *lock = file_lock_acquire(catalogue, files, 2, NULL, error);
    bool locked = lock != NULL;
    file_lock_release(lock);
    return locked;
}

static bool reap_given(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct blob_id files[2];
    struct condemned_batch batch;
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    return session && condemned_files(files, BLOB_LAYER, BLOB_VMDK) &&
           session_begin_batch(session, error) &&
           condemned_lock_given(session, files, 2, arena, &batch, error) && batch.count == 2;
}

static bool reap(struct catalogue *catalogue, struct arena *arena, struct error *error)
{
    struct condemned_batch batch;
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session || !session_begin_batch(session, error) ||
        !condemned_lock_behind(session, true, "(5,1)", PAGE, arena, &batch, error))
        return false;
    for (size_t i = 0; i < batch.count; i++)
        batch.files[i].end = CONDEMNED_GONE;
    return batch.count == PAGE && condemned_forget(session, &batch, arena, error) &&
           session_commit(session, error);
}

/* Three of those that were running have ended, and told of a change each; the others run on. */
static bool read_changes_beside_long_transactions(struct catalogue *catalogue, struct arena *arena,
                                                  struct error *error)
{
    struct changes changes;
    return catalogue_read_changes(catalogue, "3:400000:3,250007,250008,300100,390000", arena,
                                  &changes, error) &&
           !changes.everything && changes.count == 3;
}

static const struct {
    const char *what;
    bool (*ask)(struct catalogue *catalogue, struct arena *arena, struct error *error);
} questions[] = {
    {"an image", find_image},
    {"an image by digest", find_image_by_digest},
    {"an image's details", inspect_image},
    {"the newest images", list_newest_images},
    {"images of a reference", list_images_of_reference},
    {"images of a manifest", list_images_of_manifest},
    {"a sandbox", find_sandbox},
    {"two pages of sandboxes", list_all_sandboxes},
    {"two pages of a large host", page_through_a_large_host},
    {"two pages of a popular reference", page_through_a_popular_reference},
    {"two pages of a popular manifest", page_through_a_popular_manifest},
    {"sandboxes of a host", list_sandboxes_of_host},
    {"sandboxes of a reference", list_sandboxes_of_reference},
    {"sandboxes of a manifest", list_sandboxes_of_manifest},
    {"a start", start_sandbox},
    {"a renewal by digest", start_sandbox_by_digest},
    {"a start the long way", start_sandbox_the_long_way},
    {"an end", end_sandbox},
    {"a snapshot that comes and goes", hold_snapshot},
    {"snapshots", list_all_snapshots},
    {"snapshots of a manifest", list_snapshots_of_manifest},
    {"a pull of what is here", pull_what_is_here},
    {"two pages of pulls", list_pulls},
    {"what changed", read_changes},
    {"what changed beside long transactions", read_changes_beside_long_transactions},
    {"files that nobody knows", find_unknown_files},
    {"locks of files", lock_files},
    {"condemned files that are given", reap_given},
    {"a batch of condemned files", reap},
};

/* --- how many rows that reads --- */

static struct catalogue *open_planning_once(void)
{
    const struct catalogue_config config = {.conninfo = database_conninfo(),
                                            .name = "plans once",
                                            .generic_plans = true,
                                            .max_sessions = 1,
                                            .acquire_timeout_ms = 10000,
                                            .statement_timeout_ms = 10000};
    struct error error = {0};
    struct catalogue *catalogue = catalogue_open(&config, &error);
    cr_assert(catalogue, "%s", error.message);
    return catalogue;
}

/* Until now, in all tables. A connection tells it when it ends. */
static int64_t rows_read(void)
{
    const char *others = "1";
    while (strcmp(others, "0") != 0)
        others = database_sql("SELECT count(*) FROM pg_stat_activity"
                              " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                              "   AND backend_type = 'client backend'");
    return strtoll(database_sql("SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))"
                                "  FROM pg_stat_user_tables"),
                   NULL, 10);
}

static void expect_few_rows(void)
{
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct error error = {0};
        int64_t before = rows_read();
        struct catalogue *catalogue = open_planning_once();
        cr_expect(questions[i].ask(catalogue, &arena, &error), "%s: %s", questions[i].what,
                  error.message);
        catalogue_close(catalogue);
        int64_t read = rows_read() - before;
        cr_expect_leq(read, ROWS_MAX, "%s: %" PRId64 " rows were read", questions[i].what, read);
    }
}

/* On one connection, a removal of an image after a prune's rehearsal, or the rehearsal alone. */
static int64_t rows_read_by_prune(const char *then_removed)
{
    cleanup_arena struct arena arena = {0};
    struct error error = {0};
    struct removal removal;
    int64_t before = rows_read();
    struct catalogue *catalogue = open_planning_once();
    cr_assert(
        catalogue_prune(catalogue, &(struct prune_options){.dry_run = true}, &removal, &error),
        "%s", error.message);
    if (then_removed) {
        struct reference reference = parsed(then_removed);
        struct removed_image removed;
        struct id_list users;
        cr_assert(catalogue_remove_image(catalogue, &reference, NULL, false, &arena, &removed,
                                         &users, &error),
                  "%s", error.message);
    }
    catalogue_close(catalogue);
    return rows_read() - before;
}

static void begin_a_pull_that_holds_a_layer(void)
{
    database_sql("WITH p AS (INSERT INTO pulls (reference, platform, policy, force, state)"
                 "           VALUES ('q.io/new:1', 'linux/amd64', 'if_missing', false, 'fetching')"
                 "           RETURNING id)"
                 "INSERT INTO pull_layers (pull_id, position, diff_id, blob_digest, media_type,"
                 "    total_bytes, state, held_diff_id)"
                 " SELECT id, 0, d, d, 'application/vnd.oci.image.layer.v1.tar+gzip', 1, 'done', d"
                 "   FROM p, digest_of('layer 0') d");
}

/* A host renews its leases for as long as its sandboxes live: most of what the catalogue writes. */
static void expect_renewals_to_touch_no_index(void)
{
    enum { RENEWALS = 20 };
    cleanup_arena struct arena arena = {0};
    struct error error = {0};
    database_sql("SELECT pg_stat_reset()");
    struct catalogue *catalogue = open_planning_once();
    for (int i = 0; i <= RENEWALS; i++)
        cr_expect(start_sandbox(catalogue, &arena, &error), "%s", error.message);
    catalogue_close(catalogue);
    (void)rows_read(); /* once the connection has ended */
    const char *with_index = database_sql("SELECT n_tup_upd - n_tup_hot_upd"
                                          "  FROM pg_stat_user_tables WHERE relname = 'sandboxes'"
                                          "   AND n_tup_upd = 20");
    cr_expect_leq(strtol(with_index, NULL, 10), 2, "only where a page was full: %s", with_index);
    cr_expect_str_neq(with_index, "");
}

/* --- tables, and statistics of them --- */

static void begin(void)
{
    database_begin();
    database_sql("DO $$DECLARE name text; BEGIN"
                 "  FOR name IN SELECT relname FROM pg_stat_user_tables LOOP"
                 "    EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = off)', name);"
                 "  END LOOP; END$$");
}

/* Images `from` to `to`; each tenth of them is used, by twenty sandboxes and snapshots; a host has
 * twelve sandboxes. */
static void fill(int from, int to)
{
    cleanup_arena struct arena arena = {0};
    const char *numbers = arena_printf(&arena, "generate_series(%d, %d)", from, to);
    const char *twice = arena_printf(&arena, "generate_series(2 * %d, 2 * %d + 1)", from, to);
    database_sql(arena_printf(
        &arena,
        "SELECT count(add_image('q.io/i' || n || ':1', 'linux/amd64', 'm' || n, NULL, 1,"
        "           '2026-01-01'::timestamptz + n * interval '1 minute'))"
        "  FROM %s n;"
        "INSERT INTO sandboxes (id, host, rootfs, reference, manifest_digest, held_digest)"
        " SELECT 's' || n, 'h' || n %% 500, '{\"type\":\"oci\"}', 'q.io/i' || i || ':1', d, d"
        "   FROM %s n, LATERAL (SELECT 1 + n %% 300) x(i), LATERAL (SELECT digest_of('m' || i)) "
        "y(d);"
        "INSERT INTO snapshots (id, manifest_digest, held_digest)"
        " SELECT 'p' || n, d, d FROM %s n, LATERAL (SELECT digest_of('m' || 1 + n %% 300)) x(d);"
        "INSERT INTO pulls (reference, platform, policy, force, state, manifest_digest, created_at,"
        "    finished_at)"
        " SELECT 'q.io/i' || n || ':1', 'linux/amd64', 'if_missing', false, 'done', digest_of('m'),"
        "        t, t"
        "   FROM %s n, LATERAL (SELECT '2026-01-01'::timestamptz + n * interval '1 second') x(t)",
        numbers, twice, twice, twice));
}

/* A host and an image that have as many as all others; and a log of changes that is not in the
 * order of its rows any more, as when room in it was used again. */
static void add_large_ones(void)
{
    database_sql("INSERT INTO sandboxes (id, host, rootfs, reference, manifest_digest, held_digest)"
                 " SELECT 'large' || n, 'large', '{\"type\":\"oci\"}', 'q.io/i1:1', d, d"
                 "   FROM generate_series(1, 6000) n, digest_of('m1') d;"
                 "INSERT INTO condemned_files (kind, digest)"
                 " SELECT k, digest_of('condemned ' || n) FROM generate_series(1, 1000) n,"
                 "        unnest(ARRAY['layer', 'fsmeta', 'vmdk', 'manifest']) k;"
                 "DELETE FROM change_log;"
                 "INSERT INTO change_log (xid, key)"
                 " SELECT (1000 + (n + 150000) % 300000)::text::xid8, 'q.io/i' || n"
                 "   FROM generate_series(1, 300000) n");
}

/* Autovacuum would take some between two lines of a test. */
TestSuite(plans, .init = begin, .fini = database_end, .timeout = 120);

Test(plans, with_statistics_of_today)
{
    fill(1, IMAGES);
    add_large_ones();
    database_sql("ANALYZE");
    expect_few_rows();
}

Test(plans, with_statistics_of_when_a_tenth_was_there)
{
    fill(1, IMAGES / 10);
    database_sql("ANALYZE");
    fill(IMAGES / 10 + 1, IMAGES);
    add_large_ones();
    expect_few_rows();
}

Test(plans, a_renewal_writes_its_row_alone)
{
    fill(1, IMAGES / 10);
    expect_renewals_to_touch_no_index();
}

/* A prune has its statements planned for many rows, and a plan is kept by the connection. */
Test(plans, of_a_removal_after_a_prune_are_for_one_image)
{
    fill(1, IMAGES);
    begin_a_pull_that_holds_a_layer();
    database_sql("ANALYZE");
    int64_t alone = rows_read_by_prune(NULL);
    int64_t read = rows_read_by_prune("q.io/i2999:1") - alone;
    cr_expect(read > 0 && read <= ROWS_MAX, "the removal read %" PRId64 " rows", read);
}

Test(plans, with_statistics_of_when_all_had_just_been_used)
{
    fill(1, IMAGES);
    add_large_ones();
    database_sql("UPDATE image_refs SET last_used_at = now();"
                 "ANALYZE;"
                 "UPDATE image_refs SET last_used_at = '2026-01-01'");
    expect_few_rows();
}
