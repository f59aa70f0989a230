/* Removing, where it depends on rows that no test from outside can make. */
#include "store/catalogue/holders.h"
#include "store/catalogue/removal.h"

#include "tests/unit/database.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

TestSuite(removal, .init = database_begin, .fini = database_end);

static struct removal prune_everything(void)
{
    const struct prune_options everything = {0};
    struct removal removal;
    struct error error;
    cr_assert(catalogue_prune(database_catalogue, &everything, &removal, &error), "%s",
              error.message);
    return removal;
}

static void add_pull_that_holds_a_layer(const char *state)
{
    char sql[1024];
    snprintf(sql, sizeof(sql),
             "INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes)"
             " VALUES (digest_of('held'), 4096, digest_of('file'), 1);"
             "INSERT INTO pulls (reference, platform, policy, force, state, finished_at,"
             "    manifest_digest)"
             " VALUES ('docker.io/library/a:1', 'linux/amd64', 'always', false, '%s',"
             "    CASE WHEN '%s' = 'done' THEN now() END, digest_of('m'));"
             "INSERT INTO pull_layers (pull_id, position, diff_id, blob_digest, media_type,"
             "    total_bytes, held_diff_id)"
             " SELECT id, 0, digest_of('held'), digest_of('blob'), 'x', 1, digest_of('held')"
             "   FROM pulls",
             state, state);
    (void)database_sql(sql);
}

Test(removal, a_running_pull_keeps_its_finished_layers)
{
    add_pull_that_holds_a_layer("fetching");
    cr_expect_eq(prune_everything().layers, 0, "the layer stays");
}

Test(removal, a_hold_that_outlived_its_pull_keeps_nothing)
{
    add_pull_that_holds_a_layer("done");
    struct removal removal = prune_everything();
    cr_assert_eq(removal.layers, 1, "the layer goes");
    cr_expect_str_eq(database_sql("SELECT string_agg(digest, ' ') FROM condemned_files"),
                     database_digest("held"), "and its file is condemned");
    cr_expect_eq(removal.allocated_bytes, 4096, "with its recorded size, as it was not measured");
}

Test(removal, a_dry_run_counts_the_same_and_changes_nothing)
{
    (void)database_sql("SELECT add_image('docker.io/library/a:1', 'linux/amd64', 'm', NULL, 3,"
                       " now())");
    const struct prune_options rehearsal = {.dry_run = true};
    struct removal planned;
    struct error error;
    cr_assert(catalogue_prune(database_catalogue, &rehearsal, &planned, &error), "%s",
              error.message);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM image_refs"), "1", "nothing went");
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files"), "0");

    struct removal removal = prune_everything();
    cr_expect_eq(planned.references, removal.references, "references");
    cr_expect_eq(planned.manifests, removal.manifests, "manifests");
    cr_expect_eq(planned.layers, removal.layers, "layers");
    cr_expect_eq(removal.references, 1);
    cr_expect_eq(removal.layers, 3);
}

Test(removal, an_empty_glob_takes_only_what_nothing_reaches)
{
    (void)database_sql("SELECT add_image('docker.io/library/a:1', 'linux/amd64', 'm', NULL, 1,"
                       " now())");
    (void)database_sql("INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest,"
                       " tar_size_bytes) VALUES (digest_of('lone'), 4096, digest_of('f'), 1)");
    const struct prune_options unreached = {.reference_glob = ""};
    struct removal removal;
    struct error error;
    cr_assert(catalogue_prune(database_catalogue, &unreached, &removal, &error), "%s",
              error.message);
    cr_expect_eq(removal.references, 0, "images stay");
    cr_expect_eq(removal.layers, 1, "the lone layer goes");
}

Test(removal, a_catalogued_file_that_is_condemned_all_the_same_is_pardoned)
{
    (void)database_sql("SELECT add_image('docker.io/library/a:1', 'linux/amd64', 'm', NULL, 2,"
                       " now());"
                       "INSERT INTO condemned_files (kind, digest)"
                       " VALUES ('layer', digest_of('layer 0')), ('layer', digest_of('orphan')),"
                       "        ('fsmeta', digest_of('m')), ('vmdk', digest_of('m'))");
    const struct prune_options nothing = {.reference_glob = "nothing/*"};
    struct removal removal;
    struct error error;
    cr_assert(catalogue_prune(database_catalogue, &nothing, &removal, &error), "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT string_agg(digest, ' ') FROM condemned_files"),
                     database_digest("orphan"), "only what nobody needs is left to the reaper");
    cr_expect_eq(prune_everything().layers, 2, "and it can be condemned again");
}

Test(removal, of_one_image_pardons_its_own_files)
{
    (void)database_sql("SELECT add_image('docker.io/library/a:1', 'linux/amd64', 'm', NULL, 2,"
                       " now());"
                       "INSERT INTO condemned_files (kind, digest)"
                       " VALUES ('layer', digest_of('layer 0')), ('layer', digest_of('orphan')),"
                       "        ('fsmeta', digest_of('m')), ('vmdk', digest_of('m'))");
    struct reference reference;
    struct removed_image removed;
    struct id_list users;
    struct error error;
    cleanup_arena struct arena arena = {0};
    cr_assert(reference_parse("docker.io/library/a:1", &reference, &error));
    cr_assert(catalogue_remove_image(database_catalogue, &reference, NULL, false, &arena, &removed,
                                     &users, &error),
              "%s", error.message);
    cr_expect_eq(removed.condemned.count, 5, "its description, fsmeta, vmdk and layers");
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files"), "6", "and the orphan");
}

Test(removal, of_many_images_is_logged_as_a_change_of_everything)
{
    (void)database_sql("SELECT add_image('docker.io/library/a:1', 'linux/amd64', 'm', NULL, 1,"
                       " now());"
                       "INSERT INTO image_refs (reference, os, architecture, variant, name,"
                       "    manifest_digest)"
                       " SELECT 'q.io/a:' || n, 'linux', 'amd64', '', 'q.io/a', digest_of('m')"
                       "   FROM generate_series(1, 5000) n;"
                       "DELETE FROM change_log; DELETE FROM image_refs WHERE reference LIKE 'd%'");
    cr_expect_str_eq(database_sql("SELECT count(*) > 0 AND bool_and(key <> '*') FROM change_log"),
                     "t", "one image is named");
    (void)database_sql("INSERT INTO image_refs (reference, os, architecture, variant, name,"
                       "    manifest_digest)"
                       " VALUES ('q.io/b:1', 'linux', 'amd64', '', 'q.io/b', digest_of('m'));"
                       "DELETE FROM change_log; DELETE FROM image_refs");
    cr_expect_str_eq(database_sql("SELECT string_agg(key, ' ') FROM change_log"), "*",
                     "5,001 are not");
}

static void *prune_beside(void *removal)
{
    *(struct removal *)removal = prune_everything();
    return NULL;
}

static void wait_for_a_waiter(void)
{
    for (int tries = 0; tries < 2000; tries++) {
        if (strcmp(database_sql("SELECT count(*) > 0 FROM pg_stat_activity WHERE"
                                " datname = current_database() AND wait_event_type = 'Lock'"),
                   "t") == 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    cr_assert_fail("nobody waits");
}

/* Runs the statement in a transaction that stays open. */
static struct catalogue_session *hold_open(const struct statement *statement)
{
    struct error error;
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct catalogue_session *session = catalogue_acquire(database_catalogue, &error);
    cr_assert(session && session_begin(session, &error) &&
                  session_query(session, statement, NULL, 0, &arena, &rows, &error),
              "%s", error.message);
    return session;
}

static void let_go(struct catalogue_session *session)
{
    struct error error;
    cr_assert(session_commit(session, &error), "%s", error.message);
    catalogue_release(session);
}

Test(removal, a_description_that_another_condemns_at_that_moment_is_condemned_once)
{
    static const struct statement condemn = {
        "test_condemn", "INSERT INTO condemned_files (kind, digest) SELECT 'manifest', 'sha256:' ||"
                        " encode(sha256(convert_to('docker.io/library/a:1', 'UTF8')), 'hex')"};
    struct removal removal = {0};
    pthread_t thread;
    (void)database_sql("SELECT add_image('docker.io/library/a:1', 'linux/amd64', 'm', NULL, 3,"
                       " now())");
    struct catalogue_session *other = hold_open(&condemn);
    cr_assert_eq(pthread_create(&thread, NULL, prune_beside, &removal), 0);
    wait_for_a_waiter();
    let_go(other);
    pthread_join(thread, NULL);
    cr_expect_eq(removal.references, 1, "it goes all the same");
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files WHERE kind = 'manifest'"),
                     "1");
}

Test(removal, a_layer_that_a_pull_takes_hold_of_at_that_moment_stays_at_the_first_try)
{
    static const struct statement hold = {"test_hold",
                                          "UPDATE pull_layers SET held_diff_id = diff_id"};
    struct removal removal = {0};
    pthread_t thread;
    add_pull_that_holds_a_layer("fetching");
    (void)database_sql("UPDATE pull_layers SET held_diff_id = NULL;"
                       "INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest,"
                       " tar_size_bytes) VALUES (digest_of('lone'), 4096, digest_of('f'), 1)");
    struct catalogue_session *pull = hold_open(&hold);
    cr_assert_eq(pthread_create(&thread, NULL, prune_beside, &removal), 0);
    wait_for_a_waiter();
    let_go(pull);
    pthread_join(thread, NULL);
    cr_expect_eq(removal.layers, 1, "the other one goes");
    cr_expect_str_eq(database_sql("SELECT diff_id FROM layers"), database_digest("held"));
    cr_expect_str_eq(database_sql("SELECT last_value FROM removals"), "1", "nothing began anew");
}

Test(removal, a_pin_is_not_answered_before_the_removal_that_did_not_see_it_is_over)
{
    static const struct statement removal_runs = {
        "test_removal", "SELECT pg_advisory_xact_lock(hashtext('larder removal'))"};
    cleanup_arena struct arena arena = {0};
    struct error error = {0};
    struct pin pin;
    bool created = false;
    struct catalogue_session *removal = hold_open(&removal_runs);
    cr_expect_not(catalogue_put_pin(database_catalogue, "q.io/*", &arena, &pin, &created, &error));
    cr_expect_eq(error.code, ERROR_CATALOGUE_UNAVAILABLE);
    cr_expect(strstr(error.message, "a removal is running"), "%s", error.message);
    cr_expect_eq(error.retry_after_seconds, 1);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM pins"), "0");
    let_go(removal);
    cr_expect(catalogue_put_pin(database_catalogue, "q.io/*", &arena, &pin, &created, &error), "%s",
              error.message);
    cr_expect(created);
}
