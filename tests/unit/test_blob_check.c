/* A file against what was recorded of it. */
#include "store/blob_check.h"

#include "store/cleanup.h"
#include "store/file_digest.h"
#include "tests/unit/database.h"
#include "tests/unit/failing_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

enum { FILE_BYTES = 10000 };

static char directory[64];
static struct blobdir *blobdir;
static struct error error;
static const struct digest key = {{0xab, 0xcd}};

static void begin(void)
{
    scratch_make(directory);
    blobdir = blobdir_open(directory, "00000000-0000-0000-0000-000000000001", &error);
    cr_assert_not_null(blobdir, "%s", error.message);
}

static void end(void)
{
    blobdir_close(blobdir);
    scratch_remove(directory);
}

TestSuite(blob_check, .init = begin, .fini = end);

/* Publishes a file of these bytes, and says what is recorded of it. */
static struct blob_record publish(enum blob_kind kind, char byte)
{
    static char bytes[FILE_BYTES];
    struct blob_record record = {.id = {kind, key}, .size_bytes = FILE_BYTES};
    struct blob_draft *draft = blob_draft_new(blobdir, kind, &key, &error);
    memset(bytes, byte, sizeof(bytes));
    cr_assert(draft && write(blob_draft_fd(draft), bytes, sizeof(bytes)) == FILE_BYTES &&
                  file_digest_of(blob_draft_fd(draft), FILE_BYTES, &record.digest, &error) &&
                  blob_draft_publish(draft, &error),
              "%s", error.message);
    blob_draft_free(draft);
    return record;
}

static enum blob_condition check_for(bool cannot_wait, const struct blob_record *record)
{
    cleanup_arena struct arena arena = {0};
    struct blob_reading reading = {.bytes = true, .cannot_wait = cannot_wait};
    enum blob_condition condition;
    const char *detail = NULL;
    cr_assert(blob_check(blobdir, record, &reading, &arena, &condition, &detail, &error), "%s",
              error.message);
    cr_expect((detail == NULL) == (condition == BLOB_IS_WHOLE), "what is wrong is said");
    return condition;
}

static enum blob_condition check(const struct blob_record *record)
{
    return check_for(false, record);
}

Test(blob_check, other_bytes_are_damage)
{
    struct blob_record record = publish(BLOB_LAYER, 'a');
    cr_expect_eq(check(&record), BLOB_IS_WHOLE);
    (void)publish(BLOB_LAYER, 'b');
    cr_expect_eq(check(&record), BLOB_IS_DAMAGED);
    struct blob_record description = publish(BLOB_MANIFEST, 'c');
    cr_expect_eq(check(&description), BLOB_IS_DAMAGED);
}

Test(blob_check, a_disk_that_cannot_read_says_nothing_of_the_bytes)
{
    static const enum blob_kind kinds[] = {BLOB_LAYER, BLOB_FSMETA, BLOB_VMDK, BLOB_MANIFEST};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct blob_record record = publish(kinds[i], 'a');
        failing_disk_read = EIO;
        cr_expect_eq(check(&record), BLOB_IS_UNREADABLE, "%s", blob_kind_name(kinds[i]));
        cr_expect_eq(check_for(true, &record), BLOB_IS_DAMAGED, "%s", blob_kind_name(kinds[i]));
        failing_disk_read = 0;
    }
}
