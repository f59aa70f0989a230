/* Locks on files: what they keep out, and what a lost one keeps from being written. */
#include "store/file_lock.h"

#include "store/catalogue/pulls.h"
#include "tests/unit/database.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(file_lock, .init = database_begin, .fini = database_end);

static struct file_lock *must_lock(const struct blob_id *files, size_t count)
{
    struct error error;
    struct file_lock *lock = file_lock_acquire(database_catalogue, files, count, NULL, &error);
    cr_assert_not_null(lock, "the lock is free: %s", error.message);
    return lock;
}

/* As the reaper does it. */
static bool is_free(const struct blob_id *file)
{
    char sql[256];
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&file->key, digest);
    snprintf(sql, sizeof(sql),
             "SELECT pg_try_advisory_xact_lock(file_lock_class('%s'), file_lock_key('%s'))",
             blob_kind_name(file->kind), digest);
    return strcmp(database_sql(sql), "t") == 0;
}

static const struct blob_id a_layer = {.kind = BLOB_LAYER, .key.bytes = {0x80, 1, 2, 3}};
static const struct blob_id a_vmdk = {.kind = BLOB_VMDK, .key.bytes = {0x80, 1, 2, 3}};
static const struct blob_id its_fsmeta = {.kind = BLOB_FSMETA, .key.bytes = {0x80, 1, 2, 3}};

Test(file_lock, keeps_others_out_until_it_is_released)
{
    struct file_lock *lock = must_lock(&a_layer, 1);
    cr_expect_not(is_free(&a_layer), "it is held");
    cr_expect(is_free(&a_vmdk), "a file of another kind is another file");
    file_lock_release(lock);
    cr_expect(is_free(&a_layer), "it is released");
}

Test(file_lock, of_several_files_is_one_and_fsmeta_and_vmdk_share_theirs)
{
    const struct blob_id both[] = {a_layer, its_fsmeta};
    struct file_lock *lock = must_lock(both, 2);
    cr_expect_not(is_free(&a_layer));
    cr_expect_not(is_free(&a_vmdk), "fsmeta and vmdk come and go together");
    file_lock_release(lock);
    cr_expect(is_free(&a_layer) && is_free(&a_vmdk), "all are released");
}

/* Otherwise a pull whose lock went with its connection would catalogue a file that the
 * reaper, which got the lock, has just unlinked. */
Test(file_lock, that_is_lost_writes_nothing_into_the_catalogue)
{
    struct file_lock *lock = must_lock(&a_layer, 1);
    struct error error;
    cr_expect(file_lock_check(lock, &error), "%s", error.message);
    (void)database_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                       " WHERE pid <> pg_backend_pid() AND datname = current_database();"
                       "SELECT pg_sleep(0.2)");
    cr_expect_not(file_lock_check(lock, &error), "its connection ended");

    const struct layer_record layer = {.diff_id = a_layer.key,
                                       .erofs_size_bytes = 4096,
                                       .erofs_digest = a_layer.key,
                                       .tar_size_bytes = 1};
    cr_expect_not(catalogue_add_layer(file_lock_session(lock),
                                      "11111111-2222-4333-8444-555555555555", &layer, false,
                                      &error),
                  "nobody knows whether the file is still there");
    cr_expect_eq(error.code, ERROR_CATALOGUE_UNAVAILABLE, "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT count(*) FROM layers"), "0");
    file_lock_release(lock);
}
