#include "store/catalogue/catalogue.h"

#include "database.h"
#include "store/catalogue/session_internal.h"
#include "store/embedded.h"
#include "store/private_postgres.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

TestSuite(catalogue, .init = database_begin, .fini = database_end, .timeout = 120);

static const struct statement backend = {"test_backend", "SELECT pg_backend_pid()"};
static const struct statement nap = {"test_nap", "SELECT pg_sleep($1::float)"};
static const struct statement insert = {"test_insert", "INSERT INTO pins (pattern) VALUES ($1)"};
static const struct statement echo = {"test_echo", "SELECT $1::text, $2::text[], $3::bytea"};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct catalogue *open_pool(const char *conninfo, unsigned sessions,
                                   unsigned acquire_timeout_ms, unsigned statement_timeout_ms)
{
    const struct catalogue_config config = {.conninfo = conninfo,
                                            .max_sessions = sessions,
                                            .acquire_timeout_ms = acquire_timeout_ms,
                                            .statement_timeout_ms = statement_timeout_ms};
    struct error error = {0};
    struct catalogue *catalogue = catalogue_open(&config, &error);
    cr_assert_not_null(catalogue, "%s", error.message);
    return catalogue;
}

static struct catalogue_session *must_acquire(struct catalogue *catalogue)
{
    struct error error = {0};
    struct catalogue_session *session = catalogue_acquire(catalogue, &error);
    cr_assert_not_null(session, "a session is free: %s", error.message);
    return session;
}

static int64_t backend_pid(struct catalogue_session *session)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    cr_assert(session_query(session, &backend, NULL, 0, &arena, &rows, &error), "%s",
              error.message);
    return rows_int(&rows, 0, 0);
}

/* The documented one: without ports, of which libpq makes a list of nothing. */
Test(catalogue, hosts_without_ports_are_each_tried_at_the_default_one)
{
    struct error error = {0};
    struct catalogue *catalogue =
        open_pool("postgresql://larder@127.0.0.1,127.0.0.2/no_such_database", 1, 0, 1000);
    cr_expect_not(catalogue_ping(catalogue, &error));
    cr_expect(strstr(error.message, "\"127.0.0.1\", port 5432 failed"), "%s", error.message);
    cr_expect(strstr(error.message, "\"127.0.0.2\", port 5432 failed"), "%s", error.message);
    catalogue_close(catalogue);
}

Test(catalogue, parameters_arrive_as_they_were_given)
{
    static const char *const texts[] = {"a,b", "{\"}", "back\\slash", "", "NULL", "\xc3\xa4'$1"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = must_acquire(database_catalogue);
    struct rows rows;
    struct error error = {0};
    cr_assert(QUERY(session, &echo, &arena, &rows, &error, "it's; -- \xe2\x82\xac",
                    parameter_text_array(&arena, texts, 6),
                    parameter_bytes(&arena, "\0\\x\xff", 4)),
              "%s", error.message);
    cr_expect_str_eq(rows_text(&rows, 0, 0), "it's; -- \xe2\x82\xac");
    cr_expect_str_eq(rows_text(&rows, 0, 1),
                     "{\"a,b\",\"{\\\"}\",\"back\\\\slash\",\"\",\"NULL\",\xc3\xa4'$1}",
                     "six elements, none of them NULL");
    size_t size_bytes = 0;
    const void *bytes = rows_bytes(&rows, 0, 2, &arena, &size_bytes);
    cr_assert_eq(size_bytes, 4);
    cr_expect_arr_eq(bytes, "\0\\x\xff", 4);
    cr_assert(QUERY(session, &echo, &arena, &rows, &error, NULL, NULL, NULL), "%s", error.message);
    cr_expect_null(rows_text(&rows, 0, 0), "NULL is SQL's NULL");
}

Test(catalogue, what_is_no_text_is_refused_as_an_argument)
{
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = must_acquire(database_catalogue);
    struct rows rows;
    struct error error = {0};
    cr_expect_not(QUERY(session, &insert, &arena, &rows, &error, "\xff"));
    cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "not UTF-8: %s", error.message);
    cr_expect(QUERY(session, &insert, &arena, &rows, &error, "a"), "the session goes on");
    cr_expect_eq(rows.affected, 1, "and tells how many rows it touched");
}

Test(catalogue, when_every_session_is_busy_acquiring_gives_up_in_time)
{
    struct catalogue *pool = open_pool(database_conninfo(), 1, 200, 5000);
    struct catalogue_session *session = must_acquire(pool);
    struct error error = {0};
    int64_t start_ms = now_ms();
    cr_expect_null(catalogue_acquire(pool, &error), "the only session is out");
    cr_expect_eq(error.code, ERROR_CATALOGUE_UNAVAILABLE, "%s", error.message);
    cr_expect_gt(error.retry_after_seconds, 0, "it may be tried again");
    cr_expect(now_ms() - start_ms >= 190 && now_ms() - start_ms < 2000, "after 200 ms");
    catalogue_release(session);
    session = must_acquire(pool);
    catalogue_release(session);
    catalogue_close(pool);
}

Test(catalogue, an_open_transaction_is_rolled_back_on_release)
{
    struct catalogue *pool = open_pool(database_conninfo(), 1, 200, 5000);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    struct catalogue_session *session = must_acquire(pool);
    int64_t pid = backend_pid(session);
    cr_assert(session_begin(session, &error) &&
              QUERY(session, &insert, &arena, &rows, &error, "q.io/a"));
    catalogue_release(session);
    session = must_acquire(pool);
    cr_expect_eq(backend_pid(session), pid, "an idle session keeps its connection");
    cr_assert(session_begin(session, &error), "the session is clean: %s", error.message);
    cr_assert(session_commit(session, &error), "%s", error.message);
    catalogue_release(session);
    catalogue_close(pool);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM pins"), "0", "nothing was kept");
}

Test(catalogue, a_failed_transaction_never_counts_as_committed)
{
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = must_acquire(database_catalogue);
    struct rows rows;
    struct error error = {0};
    cr_assert(session_begin(session, &error));
    cr_assert(QUERY(session, &insert, &arena, &rows, &error, "q.io/a"));
    cr_assert_not(QUERY(session, &insert, &arena, &rows, &error, "q.io/a"));
    cr_expect_eq(error.code, ERROR_INTERNAL, "a violated key is for the caller to judge");
    cr_expect_str_eq(error.sqlstate, "23505", "by its SQLSTATE");
    cr_expect_not(session_commit(session, &error), "COMMIT must not pretend");
    cr_expect(session_begin(session, &error) && session_commit(session, &error),
              "the next transaction is a new one: %s", error.message);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM pins"), "0", "nothing was kept");
}

Test(catalogue, a_statement_that_takes_too_long_ends_and_the_session_stays)
{
    struct catalogue *pool = open_pool(database_conninfo(), 1, 200, 100);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    struct catalogue_session *session = must_acquire(pool);
    int64_t pid = backend_pid(session);
    cr_expect_not(QUERY(session, &nap, &arena, &rows, &error, "10"));
    cr_expect_eq(error.code, ERROR_CATALOGUE_UNAVAILABLE, "%s", error.message);
    cr_expect_str_eq(error.sqlstate, "57014", "PostgreSQL itself ended it");
    cr_expect_eq(backend_pid(session), pid, "on the same connection");
    catalogue_release(session);
    catalogue_close(pool);
}

Test(catalogue, a_stopped_backend_costs_its_deadline_and_no_more)
{
    struct catalogue *pool = open_pool(database_conninfo(), 1, 2000, 200);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    struct catalogue_session *session = must_acquire(pool);
    pid_t pid = (pid_t)backend_pid(session);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    int64_t start_ms = now_ms();
    cr_expect_not(QUERY(session, &nap, &arena, &rows, &error, "0"));
    int64_t took_ms = now_ms() - start_ms;
    cr_expect_eq(error.code, ERROR_CATALOGUE_UNAVAILABLE, "%s", error.message);
    cr_expect_lt(took_ms, 5000, "200 ms and the grace, not %lld ms", (long long)took_ms);
    cr_expect_not(QUERY(session, &nap, &arena, &rows, &error, "0"), "the session is lost");
    catalogue_release(session);
    session = must_acquire(pool);
    cr_expect_neq(backend_pid(session), pid, "the next one has another connection");
    catalogue_release(session);
    catalogue_close(pool);
    kill(pid, SIGCONT);
}

static int64_t pid_of_idle(struct catalogue *pool)
{
    cleanup_session struct catalogue_session *session = must_acquire(pool);
    return backend_pid(session);
}

/* What the heartbeat finds out: the first server hangs, and the second is the primary. */
static void *replace_first(void *context)
{
    struct servers *servers = context;
    nanosleep(&(struct timespec){.tv_nsec = 300 * 1000 * 1000}, NULL);
    servers_hangs(servers, 0);
    servers_put_first(servers, 1);
    return NULL;
}

Test(catalogue, what_waits_for_a_server_that_was_replaced_is_given_up)
{
    char twice[2048];
    PGconn *connection = PQconnectdb(database_conninfo());
    snprintf(twice, sizeof(twice), "%s host=%s,%s port=%s", database_conninfo(), PQhost(connection),
             PQhost(connection), PQport(connection));
    PQfinish(connection);
    struct catalogue *pool = open_pool(twice, 1, 2000, 60000);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    struct catalogue_session *session = must_acquire(pool);
    pid_t pid = (pid_t)backend_pid(session);
    pthread_t heartbeat;
    cr_assert_eq(pthread_create(&heartbeat, NULL, replace_first, catalogue_servers(pool)), 0);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    cr_expect_not(QUERY(session, &nap, &arena, &rows, &error, "0"));
    cr_expect(strstr(error.message, "another one took its place"), "%s", error.message);
    kill(pid, SIGCONT);
    pthread_join(heartbeat, NULL);
    catalogue_release(session);
    cr_expect(catalogue_ping(pool, &error), "it goes on at the second: %s", error.message);
    catalogue_close(pool);
}

/* The backend of a pool's only session hangs until a statement is given up. */
static void find_out_that_it_hangs(struct catalogue *pool)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    cleanup_session struct catalogue_session *session = must_acquire(pool);
    pid_t pid = (pid_t)backend_pid(session);
    cr_assert_eq(kill(pid, SIGSTOP), 0);
    cr_expect_not(QUERY(session, &nap, &arena, &rows, &error, "0"));
    kill(pid, SIGCONT);
}

Test(catalogue, when_a_server_hangs_idle_connections_to_it_are_not_trusted)
{
    struct error error = {0};
    struct catalogue *pool = open_pool(database_conninfo(), 1, 2000, 200);
    struct catalogue *stranger = open_pool(database_conninfo(), 1, 2000, 200);
    const struct catalogue_config config = {.conninfo = database_conninfo(),
                                            .sibling = pool,
                                            .max_sessions = 1,
                                            .acquire_timeout_ms = 2000,
                                            .statement_timeout_ms = 200};
    struct catalogue *sibling = catalogue_open(&config, &error);
    cr_assert_not_null(sibling, "%s", error.message);
    int64_t siblings = pid_of_idle(sibling);
    int64_t strangers = pid_of_idle(stranger);
    cr_expect_eq(pid_of_idle(sibling), siblings, "nothing has happened yet");
    find_out_that_it_hangs(pool);
    cr_expect_neq(pid_of_idle(sibling), siblings, "a sibling heard of it");
    cr_expect_eq(pid_of_idle(stranger), strangers, "nobody else did");
    catalogue_close(sibling);
    catalogue_close(stranger);
    catalogue_close(pool);
}

/* The whole plan. */
static const char *plan_of_counting(const struct statement *explain, struct arena *arena)
{
    struct rows rows;
    struct error error = {0};
    const char *plan = "";
    struct catalogue *pool = open_pool(database_conninfo(), 1, 2000, 2000);
    struct catalogue_session *session = must_acquire(pool);
    cr_assert(session_query(session, explain, NULL, 0, arena, &rows, &error), "%s", error.message);
    for (size_t row = 0; row < rows.count; row++)
        plan = arena_printf(arena, "%s%s\n", plan, rows_text(&rows, row, 0));
    catalogue_release(session);
    catalogue_close(pool);
    return plan;
}

Test(catalogue, a_statement_takes_one_process_of_postgresql)
{
    cleanup_arena struct arena arena = {0};
    static const struct statement alone = {"test_alone",
                                           "EXPLAIN SELECT count(*) FROM pg_attribute"};
    database_sql(
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET parallel_setup_cost = 0;"
        "                           ALTER DATABASE %1$I SET parallel_tuple_cost = 0;"
        "                           ALTER DATABASE %1$I SET min_parallel_table_scan_size = 0',"
        "                          current_database()); END$$");
    cr_expect_null(strstr(plan_of_counting(&alone, &arena), "Gather"), "%s",
                   plan_of_counting(&alone, &arena));
    cr_expect_not_null(strstr(database_sql("EXPLAIN (FORMAT json) SELECT count(*)"
                                           " FROM pg_attribute"),
                              "Gather"),
                       "another's would");
}

Test(catalogue, an_address_that_is_none_is_told_at_once)
{
    const struct catalogue_config config = {.conninfo = "host", .max_sessions = 1};
    struct error error = {0};
    cr_expect_null(catalogue_open(&config, &error), "\"host\" is no conninfo");
    cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT, "%s", error.message);
}

Test(catalogue, once_postgresql_stayed_away_nobody_else_waits_for_it)
{
    struct catalogue *pool = open_pool("host=/nonexistent", 2, 300, 200);
    struct error error = {0};
    int64_t start_ms = now_ms();
    cr_expect_not(catalogue_ping(pool, &error), "nobody listens there");
    cr_expect_eq(error.code, ERROR_CATALOGUE_UNAVAILABLE, "%s", error.message);
    int64_t first_ms = now_ms() - start_ms;
    cr_expect_geq(first_ms, 200, "the first one waits for a restart, not %lld ms",
                  (long long)first_ms);
    start_ms = now_ms();
    for (int i = 0; i < 10; i++)
        cr_expect_not(catalogue_ping(pool, &error));
    cr_expect_lt(now_ms() - start_ms, 300, "the others are answered at once");
    catalogue_close(pool);
}

/* --- migrations --- */

static void *migrate(void *context)
{
    struct error *error = context;
    (void)!catalogue_migrate(database_catalogue, error);
    return NULL;
}

Test(catalogue, several_nodes_that_migrate_at_once_apply_everything_once)
{
    database_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    pthread_t threads[4];
    struct error errors[4] = {0};
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, migrate, &errors[i]);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq(errors[i].code, ERROR_NONE, "node %d: %s", i, errors[i].message);
    }
    cr_expect_str_eq(database_sql("SELECT count(*) = max(version) AND count(*) > 0"
                                  "  FROM schema_migrations"),
                     "t", "each version has one row");
    cr_expect_str_eq(database_sql("SELECT count(*) FROM image_refs"), "0", "the tables are there");
}

Test(catalogue, a_catalogue_from_a_newer_larder_is_refused)
{
    database_sql("INSERT INTO schema_migrations (version, name) VALUES (999, '0999_future.sql')");
    struct error error = {0};
    cr_expect_not(catalogue_migrate(database_catalogue, &error));
    cr_expect_not_null(strstr(error.message, "999"), "it names what it found: %s", error.message);
    cr_expect_not_null(strstr(error.message, LARDER_VERSION), "and itself: %s", error.message);
}

/* As larders that knew no more left it. */
static void make_catalogue_of_version(int version)
{
    char record[256];
    database_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
                 "CREATE TABLE schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
                 "    applied_at timestamptz NOT NULL DEFAULT now())");
    for (int i = 0; i < version; i++) {
        database_sql(embedded_migrations[i].bytes);
        snprintf(record, sizeof(record),
                 "INSERT INTO schema_migrations (version, name) VALUES (%d, '%s')", i + 1,
                 embedded_migrations[i].name);
        database_sql(record);
    }
}

/* A transaction that reads the table and stays open, as that of pg_dump does. */
static PGconn *begin_to_read(const char *table)
{
    char sql[128];
    PGconn *connection = PQconnectdb(database_conninfo());
    snprintf(sql, sizeof(sql), "BEGIN; SELECT FROM %s", table);
    PQclear(PQexec(connection, sql));
    cr_assert_eq(PQtransactionStatus(connection), PQTRANS_INTRANS, "%s",
                 PQerrorMessage(connection));
    return connection;
}

static void wait_until_true(const char *sql)
{
    int64_t deadline_ms = now_ms() + 30 * 1000;
    while (strcmp(database_sql(sql), "t") != 0)
        cr_assert_lt(now_ms(), deadline_ms, "still not: %s", sql);
}

Test(catalogue, a_migration_that_waits_for_a_long_transaction_holds_up_nobody_else)
{
    enum { BEFORE_NODES_SAY_WHERE_THEY_ARE = 10, ROUNDS = 3 };
    make_catalogue_of_version(BEFORE_NODES_SAY_WHERE_THEY_ARE);
    PGconn *reader = begin_to_read("nodes");
    struct error error = {0};
    pthread_t thread;
    pthread_create(&thread, NULL, migrate, &error);
    for (int i = 0; i < ROUNDS; i++) {
        wait_until_true("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
                        "   AND relation = 'nodes'::regclass");
        database_sql("SET statement_timeout = '8s'; UPDATE nodes SET heartbeat_at = now()");
    }
    cr_expect_str_eq(database_sql("SELECT max(version) FROM schema_migrations"), "10",
                     "it did not wait in vain");

    PQfinish(reader);
    pthread_join(thread, NULL);
    cr_expect_eq(error.code, ERROR_NONE, "%s", error.message);
    cr_expect_eq(strtoll(database_sql("SELECT max(version) FROM schema_migrations"), NULL, 10),
                 catalogue_known_version());
    static const struct statement find = {"test_lock_timeout", "SHOW lock_timeout"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct catalogue_session *session = must_acquire(database_catalogue);
    cr_assert(session_query(session, &find, NULL, 0, &arena, &rows, &error), "%s", error.message);
    cr_expect_str_eq(rows_text(&rows, 0, 0), "0", "the limit was the migration's alone");
    catalogue_release(session);
}

/* --- threads --- */

/* NULL when all went well. */
static void *count_up(void *catalogue)
{
    static const struct statement add = {
        "test_add", "INSERT INTO pins (pattern) VALUES (gen_random_uuid()::text || $1)"};
    for (int i = 0; i < 25; i++) {
        cleanup_arena struct arena arena = {0};
        struct rows rows;
        struct error error = {0};
        cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, &error);
        if (!session || !QUERY(session, &add, &arena, &rows, &error, "x"))
            return catalogue;
    }
    return NULL;
}

Test(catalogue, more_threads_than_sessions_share_them)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, count_up, database_catalogue);
    for (int i = 0; i < 8; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        cr_expect_null(failed, "thread %d got its sessions", i);
    }
    cr_expect_str_eq(database_sql("SELECT count(*) FROM pins"), "200", "every insert is there");
}

/* --- restarts, of a server of our own --- */

static struct private_postgres *must_start(const char *directory)
{
    struct error error = {0};
    struct private_postgres *postgres = private_postgres_start(directory, &error);
    cr_assert_not_null(postgres, "%s", error.message);
    return postgres;
}

static char scratch[64];
static char directory[96];

static void begin_restart(void)
{
    scratch_make(scratch);
    snprintf(directory, sizeof(directory), "%s/postgres", scratch);
    cluster_copy(directory);
}

static void end_restart(void)
{
    scratch_remove(scratch);
}

TestSuite(catalogue_restart, .init = begin_restart, .fini = end_restart, .timeout = 120);

Test(catalogue_restart, a_restart_of_postgresql_fails_no_request_that_comes_after_it)
{
    struct private_postgres *postgres = must_start(directory);
    struct catalogue *pool = open_pool(private_postgres_conninfo(postgres), 2, 5000, 5000);
    struct error error = {0};
    struct catalogue_session *one = must_acquire(pool);
    struct catalogue_session *other = must_acquire(pool);
    (void)backend_pid(one); /* prepared on both connections */
    (void)backend_pid(other);
    catalogue_release(other);

    private_postgres_stop(postgres);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    cr_expect_not(session_query(one, &backend, NULL, 0, &arena, &rows, &error));
    cr_expect_eq(error.code, ERROR_CATALOGUE_UNAVAILABLE, "in the middle of its work: %s",
                 error.message);
    cr_expect_gt(error.retry_after_seconds, 0, "it may be tried again");
    catalogue_release(one);

    postgres = must_start(directory);
    one = must_acquire(pool);
    other = must_acquire(pool);
    (void)backend_pid(one); /* prepared anew */
    (void)backend_pid(other);
    catalogue_release(one);
    catalogue_release(other);
    catalogue_close(pool);
    private_postgres_stop(postgres);
}
