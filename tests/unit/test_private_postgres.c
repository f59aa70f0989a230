#include "store/private_postgres/internal.h"

#include "database.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

Test(private_postgres, the_major_version_is_read_from_what_postgres_prints)
{
    static const struct {
        const char *line;
        int major;
    } rows[] = {
        {"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 15},
        {"postgres (PostgreSQL) 17.2\n", 17},
        {"postgres (PostgreSQL) 18beta1\n", 18},
        {"postgres (EnterpriseDB) 15.1\n", 0},
        {"", 0},
        {"postgres (PostgreSQL) unknown", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(binaries_parse_version(rows[i].line), rows[i].major, "\"%s\" is version %d",
                     rows[i].line, rows[i].major);
}

/* --- a directory of its own, and libpq to look inside --- */

static char scratch[64];
static char directory[96];

static void begin(void)
{
    scratch_make(scratch);
    snprintf(directory, sizeof(directory), "%s/postgres", scratch);
}

static void end(void)
{
    scratch_remove(scratch);
}

TestSuite(private_postgres_server, .init = begin, .fini = end, .timeout = 120);

/* On a directory that a node has used before, which saves the time of initdb. */
static struct private_postgres *must_start(void)
{
    if (access(directory, F_OK) != 0)
        cluster_copy(directory);
    struct error error = {0};
    struct private_postgres *postgres = private_postgres_start(directory, &error);
    cr_assert_not_null(postgres, "%s", error.message);
    return postgres;
}

/* The first value of the answer, or why there is none. */
static const char *ask(const struct private_postgres *postgres, const char *sql)
{
    static char answer[256];
    PGconn *connection = PQconnectdb(private_postgres_conninfo(postgres));
    PGresult *result = PQexec(connection, sql);
    snprintf(answer, sizeof(answer), "%s",
             PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return answer;
}

static void write_file(const char *name, const char *text)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    cleanup_file FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    fputs(text, file);
}

Test(private_postgres_server, what_was_committed_is_there_after_the_next_start)
{
    mkdir(directory, 0700); /* so that it begins with initdb */
    struct private_postgres *postgres = must_start();
    cr_expect_str_eq(ask(postgres, "CREATE TABLE t AS SELECT 42 AS a"), "");
    private_postgres_stop(postgres);
    postgres = must_start();
    cr_expect_str_eq(ask(postgres, "SELECT a FROM t"), "42", "initdb ran once");
    private_postgres_stop(postgres);
}

Test(private_postgres_server, it_is_unprivileged_local_and_durable)
{
    struct private_postgres *postgres = must_start();
    cr_expect_str_eq(ask(postgres, "SHOW listen_addresses"), "", "no network");
    cr_expect_str_eq(ask(postgres, "SHOW fsync"), "on", "answers are durable");
    cr_expect_str_eq(ask(postgres, "SHOW server_encoding"), "UTF8", "texts are UTF-8");
    char path[128];
    struct stat data;
    struct stat top;
    snprintf(path, sizeof(path), "%s/data", directory);
    cr_assert_eq(stat(path, &data), 0);
    cr_assert_eq(stat(directory, &top), 0);
    cr_expect_neq(data.st_uid, 0, "its files are not root's");
    cr_expect_eq(data.st_mode & 0777, 0700, "and nobody else's");
    cr_expect_eq(top.st_uid, geteuid(), "but the directory around them is the node's");
    private_postgres_stop(postgres);
}

Test(private_postgres_server, a_second_node_on_the_directory_is_refused)
{
    struct private_postgres *postgres = must_start();
    struct error error = {0};
    cr_expect_null(private_postgres_start(directory, &error), "the first one has it");
    cr_expect_not_null(strstr(error.message, "another larder"), "it says why: %s", error.message);
    cr_expect_str_eq(ask(postgres, "SELECT 1"), "1", "and the first one is unharmed");
    private_postgres_stop(postgres);
}

Test(private_postgres_server, one_that_dies_under_a_running_node_is_started_again)
{
    struct private_postgres *postgres = must_start();
    (void)ask(postgres, "CREATE TABLE t AS SELECT 42 AS a");
    cr_assert_eq(kill(postgres->pid, SIGKILL), 0);
    const char *answer = "";
    for (int tries = 0; tries < 600 && strcmp(answer, "42") != 0; tries++) {
        usleep(50000);
        answer = ask(postgres, "SELECT a FROM t");
    }
    cr_expect_str_eq(answer, "42", "it is back with what was committed");
    private_postgres_stop(postgres);
}

/* A node that starts a PostgreSQL, which is then sent this signal, and dies. */
static void leave_one_behind(int signal)
{
    int ends[2];
    cluster_copy(directory);
    cr_assert_eq(pipe(ends), 0);
    pid_t node = fork();
    if (node == 0) {
        struct error error = {0};
        struct private_postgres *postgres = private_postgres_start(directory, &error);
        pid_t pid = postgres ? postgres->pid : -1;
        if (postgres)
            (void)ask(postgres, "CREATE TABLE t AS SELECT 42 AS a");
        _exit(write(ends[1], &pid, sizeof(pid)) == sizeof(pid) ? pause() : 1);
    }
    pid_t postmaster = -1;
    cr_assert_eq(read(ends[0], &postmaster, sizeof(postmaster)), sizeof(postmaster));
    cr_assert_gt(postmaster, 0, "the node got its PostgreSQL");
    cr_assert_eq(kill(postmaster, signal), 0);
    cr_assert_eq(kill(node, SIGKILL), 0);
    cr_assert_eq(waitpid(node, NULL, 0), node);
    close(ends[0]);
    close(ends[1]);
}

Test(private_postgres_server, one_that_a_killed_node_left_is_taken_over)
{
    /* Stopped, it cannot obey the SIGINT that its node's death sends; killed, it leaves
     * its files and, for a moment, its backends. */
    static const int signals[] = {SIGSTOP, SIGKILL, SIGCONT};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        leave_one_behind(signals[i]);
        struct private_postgres *postgres = must_start();
        cr_expect_str_eq(ask(postgres, "SELECT a FROM t"), "42",
                         "what was committed before signal %d is there", signals[i]);
        private_postgres_stop(postgres);
        scratch_remove(directory);
    }
}

Test(private_postgres_server, a_killed_initdb_leaves_nothing)
{
    char path[128];
    mkdir(directory, 0700);
    snprintf(path, sizeof(path), "%s/data.new", directory);
    mkdir(path, 0700);
    write_file("data.new/PG_VERSION", "15\n");
    struct private_postgres *postgres = must_start();
    cr_expect_str_eq(ask(postgres, "SELECT 1"), "1", "it begins anew");
    cr_expect_neq(access(path, F_OK), 0, "the unfinished one is gone");
    private_postgres_stop(postgres);
}

Test(private_postgres_server, a_pid_that_someone_else_has_by_now_is_left_alone)
{
    private_postgres_stop(must_start());
    char pid[32];
    snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    write_file("data/postmaster.pid", pid);
    struct private_postgres *postgres = must_start();
    cr_expect_str_eq(ask(postgres, "SELECT 1"), "1", "we are still here, and so is it");
    private_postgres_stop(postgres);
}

Test(private_postgres_server, a_cluster_of_a_version_that_is_not_installed_is_refused_by_name)
{
    char path[128];
    mkdir(directory, 0700);
    snprintf(path, sizeof(path), "%s/data", directory);
    mkdir(path, 0700);
    write_file("data/PG_VERSION", "9\n");
    struct error error = {0};
    cr_expect_null(private_postgres_start(directory, &error), "nobody has PostgreSQL 9");
    cr_expect_not_null(strstr(error.message, "PostgreSQL 9"), "it says so: %s", error.message);
}

Test(private_postgres_server, a_long_path_with_odd_characters_works)
{
    size_t used = strlen(scratch);
    char deep[256];
    snprintf(deep, sizeof(deep), "%s/it's, \\ %0100d", scratch, (int)used);
    cr_assert_eq(mkdir(deep, 0700), 0);
    char inside[272];
    snprintf(inside, sizeof(inside), "%s/postgres", deep);
    cluster_copy(inside);
    struct error error = {0};
    struct private_postgres *postgres = private_postgres_start(inside, &error);
    cr_assert_not_null(postgres, "%s", error.message);
    cr_expect_str_eq(ask(postgres, "SELECT 1"), "1", "longer than a socket's path may be");
    private_postgres_stop(postgres);
}
