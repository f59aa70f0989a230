#include "store/catalogue/pulls.h"

#include "database.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(pulls, .init = database_begin, .fini = database_end);

static const char node_id[] = "11111111-2222-4333-8444-555555555555";

/* q.io/a:1 for linux/amd64, with that manifest. */
static bool record(const char *manifest_seed, struct arena *arena, struct pull *pull,
                   struct error *error)
{
    struct reference reference;
    struct platform platform;
    cr_assert(reference_parse("q.io/a:1", &reference, error), "%s", error->message);
    cr_assert(platform_parse("linux/amd64", &platform, error), "%s", error->message);
    const struct pull_request request = {.reference = &reference, .platform = &platform};
    const struct image_handle image = {.reference = "q.io/a:1",
                                       .manifest_digest = database_digest(manifest_seed),
                                       .architecture = "amd64",
                                       .os = "linux",
                                       .variant = ""};
    return catalogue_record_cached_pull(database_catalogue, node_id, &request, &image, arena, pull,
                                        error);
}

Test(pulls, a_pull_of_what_is_here_is_recorded_as_done_and_counts_as_use)
{
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', NULL, 2, '2026-01-01')");
    cleanup_arena struct arena arena = {0};
    struct pull pull;
    struct pull found;
    struct error error = {0};
    cr_assert(catalogue_register_node(database_catalogue, node_id, NULL, &error), "%s",
              error.message);
    cr_assert(record("m1", &arena, &pull, &error), "%s", error.message);
    cr_expect_eq(pull.state, PULL_DONE);
    cr_expect_str_eq(pull.reference, "q.io/a:1");
    cr_expect_str_eq(pull.manifest_digest, database_digest("m1"));
    cr_expect_str_eq(pull.node_id, node_id, "the node that answered it");
    cr_expect(pull.finished_at_ms > 0 && pull.finished_at_ms == pull.created_at_ms,
              "it ended when it began");
    cr_expect(catalogue_find_pull(database_catalogue, pull.id, &arena, &found, &error) &&
                  found.state == PULL_DONE,
              "it is found like any other: %s", error.message);
    cr_expect_str_eq(database_sql("SELECT last_used_at > '2026-01-02' FROM image_refs"), "t",
                     "the image was used just now");
}

Test(pulls, an_image_that_moved_or_went_meanwhile_is_no_answer_and_changes_nothing)
{
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', NULL, 2, '2026-01-01')");
    cleanup_arena struct arena arena = {0};
    struct pull pull;
    struct error error = {0};
    cr_expect_not(record("m0", &arena, &pull, &error), "the tag leads to m1 by now");
    cr_expect_eq(error.code, ERROR_IMAGE_NOT_FOUND, "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM pulls"), "0", "no pull was recorded");
    cr_expect_str_eq(database_sql("SELECT last_used_at < '2026-01-02' FROM image_refs"), "t",
                     "nor was the image used");
}

Test(pulls, a_node_that_the_catalogue_does_not_know_yet_answers_all_the_same)
{
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', NULL, 2, '2026-01-01')");
    cleanup_arena struct arena arena = {0};
    struct pull pull;
    struct error error = {0};
    cr_assert(record("m1", &arena, &pull, &error), "%s", error.message);
    cr_expect_null(pull.node_id);
}

/* As this node, which registers or beats and has the rows as `sql` leaves them. */
static bool claims(const char *sql)
{
    cleanup_arena struct arena arena = {0};
    struct error error = {0};
    struct pull pull;
    bool claimed = false;
    bool is_too_old = false;
    cr_assert(catalogue_register_node(database_catalogue, node_id, NULL, &error), "%s",
              error.message);
    database_sql(sql);
    cr_assert(catalogue_beat_node(database_catalogue, node_id, NULL, 0, &is_too_old, &error), "%s",
              error.message);
    cr_assert(catalogue_claim_pull(database_catalogue, node_id, &arena, &pull, &claimed, &error),
              "%s", error.message);
    return claimed;
}

Test(pulls, a_node_takes_over_only_once_it_has_reached_the_catalogue_for_long)
{
    static const char since[] =
        "UPDATE nodes SET beating_since = now() - interval '1 hour',"
        "                 heartbeat_at = now() - interval '%s' WHERE hostname <> 'silent'";
    char sql[256];
    (void)database_sql(
        "INSERT INTO nodes (id, hostname, version, heartbeat_at)"
        "    VALUES (gen_random_uuid(), 'silent', '1', now() - interval '11 seconds');"
        "INSERT INTO pulls (reference, platform, policy, force, state, node_id)"
        "    SELECT 'q.io/a:1', 'linux/amd64', 'always', false, 'fetching', id FROM nodes");
    cr_expect_not(claims("SELECT 1"), "it has just started");
    (void)snprintf(sql, sizeof(sql), since, "6 seconds");
    cr_expect_not(claims(sql), "the catalogue was away");
    (void)snprintf(sql, sizeof(sql), since, "1 second");
    cr_expect(claims(sql), "one beat came late");

    (void)database_sql("UPDATE pulls SET state = 'queued', node_id = NULL");
    cr_expect(claims("SELECT 1"), "what waits, each node takes at once");
}

/* Claims the pull that is inserted as `columns` say. */
static void claim(const char *columns, struct arena *arena, struct pull *pull)
{
    char sql[512];
    bool claimed = false;
    struct error error = {0};
    cr_assert(catalogue_register_node(database_catalogue, node_id, NULL, &error), "%s",
              error.message);
    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO pulls (reference, platform, policy, force, cancel_requested)"
                   " VALUES (%s)",
                   columns);
    (void)database_sql(sql);
    cr_assert(catalogue_claim_pull(database_catalogue, node_id, arena, pull, &claimed, &error) &&
                  claimed,
              "%s", error.message);
}

Test(pulls, who_claims_one_is_told_that_it_is_to_be_cancelled)
{
    cleanup_arena struct arena arena = {0};
    struct pull pull;
    claim("'q.io/a:1', 'linux/amd64', 'always', false, true", &arena, &pull);
    cr_expect(pull.cancel_requested);
    claim("'q.io/a:2', 'linux/amd64', 'always', false, false", &arena, &pull);
    cr_expect_not(pull.cancel_requested);
}

Test(pulls, what_names_the_node_and_does_not_run_there_is_given_back)
{
    cleanup_arena struct arena arena = {0};
    struct pull runs;
    struct pull lost;
    struct error error = {0};
    size_t count = 0;
    claim("'q.io/a:1', 'linux/amd64', 'always', false, false", &arena, &runs);
    claim("'q.io/a:2', 'linux/amd64', 'always', false, false", &arena, &lost);
    (void)database_sql("INSERT INTO nodes (id, hostname, version)"
                       "    VALUES (gen_random_uuid(), 'other', '1');"
                       "INSERT INTO pulls (reference, platform, policy, force, state, node_id)"
                       "    SELECT 'q.io/a:3', 'linux/amd64', 'always', false, 'fetching', id"
                       "      FROM nodes WHERE hostname = 'other'");
    const struct id_list running = {.ids = &runs.id, .count = 1};
    cr_assert(catalogue_give_back_pulls(database_catalogue, node_id, &running, &count, &error),
              "%s", error.message);
    cr_expect_eq(count, 1);
    cr_expect_str_eq(database_sql("SELECT string_agg(state || attempts, ' ' ORDER BY reference)"
                                  " FROM pulls"),
                     "resolving1 queued0 fetching0");
    cr_assert(catalogue_give_back_pulls(database_catalogue, node_id, &(struct id_list){0}, &count,
                                        &error),
              "%s", error.message);
    cr_expect_eq(count, 1, "also all");
}

Test(pulls, a_node_that_lost_its_pull_writes_no_progress)
{
    static const char taken_over_by[] = "99999999-2222-4333-8444-555555555555";
    cleanup_arena struct arena arena = {0};
    struct pull pull;
    struct error error = {0};
    claim("'q.io/a:1', 'linux/amd64', 'always', false, false", &arena, &pull);
    (void)database_sql(
        "INSERT INTO pull_layers (pull_id, position, diff_id, blob_digest, media_type, total_bytes,"
        "    received_bytes)"
        " SELECT id, 0, digest_of('l'), digest_of('b'), 'm', 10, 7 FROM pulls");
    const struct pull_layer layer = {.state = "fetching", .total_bytes = 10, .received_bytes = 3};
    cr_assert(
        catalogue_pull_progress(database_catalogue, taken_over_by, pull.id, &layer, 1, &error),
        "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT received_bytes FROM pull_layers"), "7");
    cr_assert(catalogue_pull_progress(database_catalogue, node_id, pull.id, &layer, 1, &error),
              "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT received_bytes FROM pull_layers"), "3");
}

Test(pulls, history_is_kept_for_a_week)
{
    (void)database_sql(
        "INSERT INTO pulls (reference, platform, policy, force, state, manifest_digest, created_at,"
        "    finished_at)"
        " SELECT 'docker.io/library/a:' || days, 'linux/amd64', 'always', false, 'done',"
        "        digest_of('m'), now() - days * interval '1 day', now() - days * interval '1 day'"
        "   FROM unnest('{1, 6, 8, 400}'::int[]) AS days;"
        "INSERT INTO pulls (reference, platform, policy, force, created_at)"
        " VALUES ('docker.io/library/a:9', 'linux/amd64', 'always', false,"
        "    now() - interval '9 days')");
    struct error error;
    cr_assert(catalogue_trim_history(database_catalogue, &error), "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT string_agg(substr(reference, 21), ' ' ORDER BY"
                                  " created_at DESC) FROM pulls"),
                     "1 6 9", "what ended in the last week, and what has not ended, stays");
}
