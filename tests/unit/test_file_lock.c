/* Locks on files: what they keep out, and what a lost one keeps from being written. */
#include "store/file_lock.h"

#include "store/catalogue/condemned.h"
#include "store/catalogue/pulls.h"
#include "tests/unit/database.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

TestSuite(file_lock, .init = database_begin, .fini = database_end);

static struct file_lock *must_lock(const struct blob_id *files, size_t count)
{
    struct error error;
    struct file_lock *lock = file_lock_acquire(database_catalogue, files, count, NULL, &error);
    cr_assert_not_null(lock, "the lock is free: %s", error.message);
    return lock;
}

/* As a sweep does it. */
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

/* --- beside a reaper, which locks rows and then looks for locks --- */

static void condemn(const struct blob_id *file, const char *kind)
{
    char sql[256];
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&file->key, digest);
    snprintf(sql, sizeof(sql), "INSERT INTO condemned_files (kind, digest) VALUES ('%s', '%s')",
             kind, digest);
    (void)database_sql(sql);
}

/* Has all rows: those of layers first. */
static struct catalogue_session *begin_reaping(struct arena *arena, struct condemned_batch *batch)
{
    struct error error;
    struct condemned_batch halves[2];
    struct catalogue_session *session = catalogue_acquire(database_catalogue, &error);
    cr_assert_not_null(session, "%s", error.message);
    cr_assert(session_begin_batch(session, &error), "%s", error.message);
    cr_assert(condemned_lock_behind(session, true, NULL, 10, arena, &halves[0], &error) &&
                  condemned_lock_behind(session, false, NULL, 10, arena, &halves[1], &error),
              "%s", error.message);
    *batch = (struct condemned_batch){.count = halves[0].count + halves[1].count};
    batch->files = arena_alloc_array(arena, batch->count, sizeof(*batch->files));
    for (size_t i = 0; i < batch->count; i++)
        batch->files[i] =
            i < halves[0].count ? halves[0].files[i] : halves[1].files[i - halves[0].count];
    return session;
}

static bool can_be_tried(const struct blob_id *file)
{
    struct file_lock *lock = NULL;
    struct error error;
    cr_assert(file_lock_try(database_catalogue, file, &lock, &error), "%s", error.message);
    bool locked = lock != NULL;
    file_lock_release(lock);
    return locked;
}

Test(file_lock, is_nobodys_while_a_reaper_has_the_file)
{
    cleanup_arena struct arena arena = {0};
    struct condemned_batch batch;
    const struct blob_id another = {.kind = BLOB_LAYER, .key.bytes = {0x90, 1, 2, 3}};
    condemn(&a_layer, "layer");
    condemn(&a_vmdk, "vmdk");
    struct catalogue_session *reaper = begin_reaping(&arena, &batch);
    cr_expect_eq(batch.count, 2);
    cr_expect(!batch.files[0].is_busy && !batch.files[1].is_busy, "nobody is at them");
    cr_expect_not(can_be_tried(&a_layer), "the reaper is about to unlink it");
    cr_expect_not(can_be_tried(&a_vmdk));
    cr_expect_not(can_be_tried(&its_fsmeta), "fsmeta and vmdk come and go together");
    cr_expect(can_be_tried(&another), "the reaper has not that one");
    session_rollback(reaper);
    catalogue_release(reaper);
    cr_expect(can_be_tried(&a_layer) && can_be_tried(&its_fsmeta), "condemned still, and free");
}

/* Also one whose key begins with zeros. */
Test(file_lock, keeps_the_file_from_a_reaper_that_begins_later)
{
    cleanup_arena struct arena arena = {0};
    struct condemned_batch batch;
    const struct blob_id zeros = {.kind = BLOB_LAYER, .key.bytes = {0, 1, 2, 3}};
    const struct blob_id both[] = {zeros, its_fsmeta};
    struct file_lock *lock = must_lock(both, 2);
    condemn(&zeros, "layer");
    condemn(&a_vmdk, "vmdk");
    condemn(&a_vmdk, "manifest");
    struct catalogue_session *reaper = begin_reaping(&arena, &batch);
    cr_assert_eq(batch.count, 3);
    for (size_t i = 0; i < batch.count; i++)
        cr_expect_eq(batch.files[i].is_busy, batch.files[i].id.kind != BLOB_MANIFEST, "%s",
                     batch.files[i].kind);
    session_rollback(reaper);
    catalogue_release(reaper);
    file_lock_release(lock);
    reaper = begin_reaping(&arena, &batch);
    cr_expect(batch.count == 3 && !batch.files[0].is_busy && !batch.files[2].is_busy);
    catalogue_release(reaper);
}

static void *wait_for_the_lock(void *got)
{
    atomic_store((struct file_lock * _Atomic *)got, must_lock(&a_layer, 1));
    return NULL;
}

Test(file_lock, waits_for_the_end_of_a_reapers_batch)
{
    cleanup_arena struct arena arena = {0};
    struct condemned_batch batch;
    struct error error;
    struct file_lock *_Atomic lock = NULL;
    pthread_t thread;
    condemn(&a_layer, "layer");
    struct catalogue_session *reaper = begin_reaping(&arena, &batch);
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_the_lock, &lock), 0);
    while (is_free(&a_layer))
        continue; /* it has the lock now, and looks at the row */
    batch.files[0].end = CONDEMNED_GONE;
    cr_assert(condemned_forget(reaper, &batch, &arena, &error), "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT pg_sleep(0.2)"), "");
    cr_expect_null(atomic_load(&lock), "the row is the reaper's until it commits");
    cr_assert(session_commit(reaper, &error), "%s", error.message);
    catalogue_release(reaper);
    pthread_join(thread, NULL);
    cr_expect_not_null(atomic_load(&lock));
    cr_expect_str_eq(database_sql("SELECT count(*) FROM condemned_files"), "0");
    file_lock_release(atomic_load(&lock));
}

/* --- beside a node of schema version 17, whose pulls do not look at rows --- */

Test(file_lock, is_taken_by_a_reaper_as_well_while_an_old_node_lives)
{
    cleanup_arena struct arena arena = {0};
    struct condemned_batch batch;
    condemn(&a_layer, "layer");
    condemn(&a_vmdk, "vmdk");
    (void)database_sql("INSERT INTO nodes (id, hostname, version)"
                       " VALUES ('11111111-2222-4333-8444-555555555555', 'old', '0.1.0')");
    struct file_lock *lock = must_lock(&its_fsmeta, 1);
    struct catalogue_session *reaper = begin_reaping(&arena, &batch);
    cr_assert_eq(batch.count, 2);
    cr_expect(!batch.files[0].is_busy && batch.files[1].is_busy, "the vmdk's lock is held");
    cr_expect_not(is_free(&a_layer), "the reaper has its lock");
    session_rollback(reaper);
    catalogue_release(reaper);
    file_lock_release(lock);
    (void)database_sql("DELETE FROM nodes");
    reaper = begin_reaping(&arena, &batch);
    cr_expect(batch.count == 2 && is_free(&a_layer), "it left");
    catalogue_release(reaper);
}

/* Otherwise a pull whose lock went with its connection would catalogue a file that a reaper has
 * just unlinked. */
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
