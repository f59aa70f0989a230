/* The reaper's pass through all that is condemned. */
#include "store/reaper.h"

#include "store/file_lock.h"
#include "tests/unit/database.h"
#include "tests/unit/failing_calls.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than a few batches. */
enum { LAYERS = 1500, LAYER_BYTES = 4096, VMDKS = 600 };

static char directory[64];
static struct blobdir *blobdir;

static struct blob_id layer(int number)
{
    char seed[32];
    snprintf(seed, sizeof(seed), "layer %d", number);
    struct blob_id file = {.kind = BLOB_LAYER};
    cr_assert(digest_parse(database_digest(seed), &file.key));
    return file;
}

static const char *path_of(const struct blob_id *file)
{
    static char path[256];
    char name[BLOB_PATH_SIZE];
    blob_path(file->kind, &file->key, name);
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static void begin(void)
{
    static const char bytes[LAYER_BYTES];
    struct error error;
    database_begin();
    scratch_make(directory);
    blobdir = blobdir_open(directory, "00000000-0000-0000-0000-000000000001", &error);
    cr_assert_not_null(blobdir, "%s", error.message);
    for (int i = 0; i < LAYERS; i++) {
        struct blob_id file = layer(i);
        int fd = open(path_of(&file), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        cr_assert(fd >= 0 && write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes));
        close(fd);
    }
    char sql[512];
    snprintf(sql, sizeof(sql), /* the files of the latter are gone already */
             "INSERT INTO condemned_files (kind, digest, removal_id)"
             " SELECT 'layer', digest_of('layer ' || n), 7 FROM generate_series(0, %d - 1) n;"
             "INSERT INTO condemned_files (kind, digest, removal_id)"
             " SELECT 'vmdk', digest_of('image ' || n), 7 FROM generate_series(0, %d - 1) n",
             LAYERS, VMDKS);
    database_sql(sql);
}

static void end(void)
{
    blobdir_close(blobdir);
    scratch_remove(directory);
    database_end();
}

TestSuite(reaper, .init = begin, .fini = end);

static bool run_pass(const atomic_bool *stop, struct reaped *reaped, struct error *error)
{
    const struct reaper_pass pass = {database_catalogue, blobdir, stop};
    return reaper_run_pass(&pass, reaped, error);
}

static int files_left(void)
{
    int left = 0;
    for (int i = 0; i < LAYERS; i++) {
        struct blob_id file = layer(i);
        left += access(path_of(&file), F_OK) == 0;
    }
    return left;
}

Test(reaper, takes_all_that_is_condemned_and_counts_each_file_once)
{
    struct reaped reaped;
    struct error error;
    cr_assert(run_pass(NULL, &reaped, &error), "%s", error.message);
    cr_expect_eq(reaped.layer_files, LAYERS);
    cr_expect_eq(reaped.vmdk_files, VMDKS);
    cr_expect_eq(files_left(), 0);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files"), "0");
    cr_expect_str_eq(database_sql("SELECT sum(layers) || ' ' || sum(vmdk) || ' ' || sum(bytes)"
                                  "  FROM reaped_files WHERE removal_id = 7"),
                     "1500 600 6144000");
}

Test(reaper, goes_on_where_it_stopped_trusting_its_rows)
{
    struct reaped reaped;
    struct error error;
    fault = ONE_SLOW_UNLINK;
    cr_assert(run_pass(NULL, &reaped, &error), "%s", error.message);
    cr_expect_eq(reaped.layer_files, LAYERS, "%lld", (long long)reaped.layer_files);
    cr_expect_eq(files_left(), 0);
}

Test(reaper, passes_over_nothing_while_it_takes_locks_for_an_old_node)
{
    struct reaped reaped;
    struct error error;
    (void)database_sql("INSERT INTO nodes (id, hostname, version)"
                       " VALUES ('11111111-2222-4333-8444-555555555555', 'old', '0.1.0')");
    cr_assert(run_pass(NULL, &reaped, &error), "%s", error.message);
    cr_expect_eq(reaped.layer_files, LAYERS);
    cr_expect_eq(files_left(), 0);
}

Test(reaper, is_not_kept_by_a_file_that_cannot_go_and_tells_it)
{
    struct blob_id stuck = layer(700);
    struct blob_id busy = layer(800);
    struct reaped reaped;
    struct error error;
    cr_assert(unlink(path_of(&stuck)) == 0 && mkdir(path_of(&stuck), 0755) == 0);
    struct file_lock *lock = file_lock_acquire(database_catalogue, &busy, 1, NULL, &error);
    cr_assert_not_null(lock, "%s", error.message);
    cr_expect_not(run_pass(NULL, &reaped, &error), "a directory cannot be unlinked");
    cr_expect_eq(error.os_errno, EISDIR);
    file_lock_release(lock);
    cr_expect_eq(reaped.layer_files, LAYERS - 2);
    cr_expect_eq(files_left(), 2);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files"), "2",
                     "both wait for a later pass");
}

Test(reaper, that_is_to_stop_leaves_the_rest)
{
    atomic_bool stop = true;
    struct reaped reaped;
    struct error error;
    cr_expect(run_pass(&stop, &reaped, &error), "to stop is no failure");
    cr_expect_eq(reaped.layer_files, 0);
    cr_expect_eq(files_left(), LAYERS);
}

/* A statement that fails gives up all that its transaction had locked, and so it has one of its
 * own. */
Test(reaper, is_not_kept_by_a_description_that_cannot_be_written)
{
    struct reaped reaped;
    struct error error;
    (void)database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm', NULL, 1, now());"
                       "INSERT INTO condemned_files (kind, digest, reference)"
                       " VALUES ('manifest', description_digest('q.io/a:1'), 'q.io/a:1');"
                       "ALTER TABLE manifests RENAME raw TO renamed");
    cr_expect_not(run_pass(NULL, &reaped, &error), "the description cannot be renewed");
    cr_expect_str_eq(error.sqlstate, "42703", "%s", error.message);
    cr_expect_eq(reaped.layer_files, LAYERS);
    cr_expect_str_eq(database_sql("SELECT string_agg(kind, ' ') FROM condemned_files"), "manifest");
}

Test(reaper, forgets_a_description_only_once_it_is_gone_for_good)
{
    struct blob_id description = {.kind = BLOB_MANIFEST};
    struct reaped reaped;
    struct error error;
    cr_assert(digest_parse(database_digest("description"), &description.key));
    int fd = open(path_of(&description), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    cr_assert(fd >= 0 && close(fd) == 0);
    (void)database_sql("INSERT INTO condemned_files (kind, digest)"
                       " VALUES ('manifest', digest_of('description'))");
    fault = NO_DIRECTORY_FSYNC;
    cr_expect_not(run_pass(NULL, &reaped, &error), "its directory cannot be synced");
    fault = SOUND;
    cr_expect(access(path_of(&description), F_OK) != 0,
              "it is gone, perhaps until the power fails");
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files WHERE kind = 'manifest'"),
                     "1", "and may be unlinked again");
    cr_assert(run_pass(NULL, &reaped, &error), "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files"), "0");
}
