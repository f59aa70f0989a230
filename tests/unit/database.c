#include "database.h"

#include "store/digest.h"
#include "store/private_postgres.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static const char variable[] = "LARDER_TEST_DATABASE";
static const char template_name[] = "larder_template";

static const char fixtures_sql[] =
    "CREATE FUNCTION digest_of(seed text) RETURNS text LANGUAGE sql IMMUTABLE"
    "    RETURN 'sha256:' || encode(sha256(convert_to(seed, 'UTF8')), 'hex');"
    "CREATE FUNCTION add_image(reference text, platform text, manifest text, index text,"
    "    layer_count integer, created_at timestamptz) RETURNS void LANGUAGE sql AS $$"
    "    INSERT INTO configs VALUES (digest_of('config ' || $3), '{}', "
    "        json_build_object('digest', digest_of('config ' || $3)))"
    "        ON CONFLICT DO NOTHING;"
    "    INSERT INTO manifests (digest, media_type, raw, config_digest, os, architecture,"
    "        variant, layer_count, size_bytes, fsmeta_size_bytes, fsmeta_digest,"
    "        vmdk_size_bytes, vmdk_digest)"
    "        VALUES (digest_of($3), 'application/vnd.oci.image.manifest.v1+json', '{}',"
    "            digest_of('config ' || $3), split_part($2, '/', 1), split_part($2, '/', 2),"
    "            split_part($2, '/', 3), $5, 100 * $5, 8192, digest_of('fsmeta ' || $3), 512,"
    "            digest_of('vmdk ' || $3))"
    "        ON CONFLICT DO NOTHING;"
    "    INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes)"
    "        SELECT digest_of('layer ' || n), 4096 * (n + 1), digest_of('erofs ' || n), 10240"
    "          FROM generate_series(0, $5 - 1) n ON CONFLICT DO NOTHING;"
    "    INSERT INTO manifest_layers SELECT digest_of($3), n, digest_of('layer ' || n),"
    "            digest_of('blob ' || n), 'application/vnd.oci.image.layer.v1.tar+gzip', 100"
    "          FROM generate_series(0, $5 - 1) n ON CONFLICT DO NOTHING;"
    "    INSERT INTO image_refs (reference, os, architecture, variant, name, index_digest,"
    "        manifest_digest, created_at, last_used_at)"
    "        VALUES ($1, split_part($2, '/', 1), split_part($2, '/', 2), split_part($2, '/', 3),"
    "            regexp_replace($1, '(:[^:/@]*)?(@.*)?$', ''), digest_of($4), digest_of($3),"
    "            $6, $6)"
    "$$;";

struct catalogue *database_catalogue;
static char conninfo[1024];
static char value[16 * 1024];

const char *database_conninfo(void)
{
    return conninfo;
}

/* The server's conninfo, with another database. */
static void set_conninfo(const char *database)
{
    const char *server = getenv(variable);
    cr_assert_not_null(server, "the runner started a PostgreSQL for the tests");
    snprintf(conninfo, sizeof(conninfo), "%s dbname=%s options='-c client_min_messages=error'",
             server, database);
}

static struct catalogue *open_catalogue(void)
{
    const struct catalogue_config config = {.conninfo = conninfo,
                                            .max_sessions = 4,
                                            .acquire_timeout_ms = 5000,
                                            .statement_timeout_ms = 10000};
    struct error error = {0};
    struct catalogue *catalogue = catalogue_open(&config, &error);
    cr_assert_not_null(catalogue, "the pool opens: %s", error.message);
    return catalogue;
}

const char *database_sql(const char *sql)
{
    PGconn *connection = PQconnectdb(conninfo);
    cr_assert_eq(PQstatus(connection), CONNECTION_OK, "%s", PQerrorMessage(connection));
    PGresult *result = PQexec(connection, sql);
    ExecStatusType status = PQresultStatus(result);
    cr_assert(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK, "%s: %s", sql,
              PQresultErrorMessage(result));
    snprintf(value, sizeof(value), "%s",
             PQntuples(result) > 0 && PQnfields(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(connection);
    return value;
}

const char *database_digest(const char *seed)
{
    static char texts[8][DIGEST_TEXT_SIZE];
    static size_t next;
    char *text = texts[next++ % 8];
    struct digest digest = digest_of(seed, strlen(seed));
    digest_format(&digest, text);
    return text;
}

void database_begin(void)
{
    char sql[256];
    char name[64];
    snprintf(name, sizeof(name), "test_%d", (int)getpid());
    set_conninfo("postgres");
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s TEMPLATE %s", name, template_name);
    database_sql(sql);
    set_conninfo(name);
    database_catalogue = open_catalogue();
}

void database_end(void)
{
    char sql[256];
    catalogue_close(database_catalogue);
    set_conninfo("postgres");
    snprintf(sql, sizeof(sql), "DROP DATABASE test_%d WITH (FORCE)", (int)getpid());
    database_sql(sql);
}

/* In memory where there is room: initdb waits for the disk most of its time. */
static bool is_roomy(const char *directory)
{
    struct statvfs room;
    return access(directory, W_OK) == 0 && statvfs(directory, &room) == 0 &&
           room.f_bavail * room.f_frsize >= (fsblkcnt_t)1 << 30;
}

void scratch_make(char path[static 64])
{
    snprintf(path, 64, "%s/larder-unit-XXXXXX", is_roomy("/dev/shm") ? "/dev/shm" : "/tmp");
    if (!mkdtemp(path))
        abort();
}

static int remove_entry(const char *path, const struct stat *unused, int type, struct FTW *walk)
{
    (void)unused;
    (void)type;
    (void)walk;
    return remove(path);
}

void scratch_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char template_variable[] = "LARDER_TEST_CLUSTER";

static void copy(const char *from, const char *to)
{
    char *const argv[] = {(char[]){"cp"}, (char[]){"-a"}, strdup(from), strdup(to), NULL};
    pid_t pid = 0;
    int status = 1;
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
        waitpid(pid, &status, 0);
    free(argv[2]);
    free(argv[3]);
    if (status != 0) {
        fprintf(stderr, "cannot copy %s to %s\n", from, to);
        exit(1);
    }
}

void cluster_copy(const char *directory)
{
    const char *from = getenv(template_variable);
    cr_assert_not_null(from, "the runner made a cluster to copy");
    copy(from, directory);
}

/* --- in the runner, before and after all tests --- */

static struct private_postgres *server;
static char server_directory[64];

static struct private_postgres *must_start(const char *directory)
{
    struct error error = {0};
    struct private_postgres *postgres = private_postgres_start(directory, &error);
    if (!postgres) {
        fprintf(stderr, "no PostgreSQL for the tests: %s\n", error.message);
        exit(1);
    }
    return postgres;
}

/* One cluster to copy from, never running, and one that serves. */
static void start_server(void)
{
    char idle[96];
    char serving[96];
    scratch_make(server_directory);
    snprintf(idle, sizeof(idle), "%s/idle", server_directory);
    snprintf(serving, sizeof(serving), "%s/serving", server_directory);
    private_postgres_stop(must_start(idle));
    setenv(template_variable, idle, 1);
    copy(idle, serving);
    server = must_start(serving);
}

static void make_template(void)
{
    char sql[128];
    set_conninfo("postgres");
    snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s", template_name);
    database_sql(sql);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", template_name);
    database_sql(sql);
    set_conninfo(template_name);
    struct catalogue *catalogue = open_catalogue();
    struct error error = {0};
    if (!catalogue_migrate(catalogue, &error)) {
        fprintf(stderr, "the migrations failed: %s\n", error.message);
        exit(1);
    }
    catalogue_close(catalogue);
    database_sql(fixtures_sql);
}

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
    (void)tests;
    start_server();
    if (!getenv(variable))
        setenv(variable, private_postgres_conninfo(server), 1);
    make_template();
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    private_postgres_stop(server);
    scratch_remove(server_directory);
}
