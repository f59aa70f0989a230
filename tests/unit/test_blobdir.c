#include "store/blob_list.h"
#include "store/blobdir.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/failing_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char directory[64];
static struct blobdir *blobdir;
static struct error error;
static const struct digest key = {{0xab, 0xcd}};

static int remove_entry(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
    (void)stat;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void setup(void)
{
    snprintf(directory, sizeof(directory), "/tmp/larder-blobdir-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    char path[128];
    snprintf(path, sizeof(path), "%s/new/blobs", directory);
    blobdir = blobdir_open(path, "node-one", &error);
    cr_assert_not_null(blobdir, "%s", error.message);
}

static void teardown(void)
{
    blobdir_close(blobdir);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(blobdir, .init = setup, .fini = teardown);

static struct blob_draft *write_draft(const char *text)
{
    struct blob_draft *draft = blob_draft_new(blobdir, BLOB_LAYER, &key, &error);
    cr_assert_not_null(draft, "%s", error.message);
    cr_assert_eq(write(blob_draft_fd(draft), text, strlen(text)), (ssize_t)strlen(text));
    return draft;
}

static bool exists(const char *relative)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/new/blobs/%s", directory, relative);
    return access(path, F_OK) == 0;
}

Test(blobdir, names_are_those_of_the_contract)
{
    static const struct {
        enum blob_kind kind;
        const char *path;
    } rows[] = {
        {BLOB_LAYER, "layers/sha256_abcd%s.erofs"},
        {BLOB_FSMETA, "fsmeta/sha256_abcd%s.erofs"},
        {BLOB_VMDK, "vmdk/sha256_abcd%s.vmdk"},
        {BLOB_MANIFEST, "manifests/abcd%s.json"},
    };
    char zeros[61];
    memset(zeros, '0', 60);
    zeros[60] = '\0';
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[BLOB_PATH_SIZE];
        char expected[BLOB_PATH_SIZE];
        const char *mark = strchr(rows[i].path, '%');
        snprintf(expected, sizeof(expected), "%.*s%s%s", (int)(mark - rows[i].path), rows[i].path,
                 zeros, mark + 2);
        blob_path(rows[i].kind, &key, path);
        cr_expect_str_eq(path, expected, "a %s file is at %s", blob_kind_name(rows[i].kind),
                         expected);
    }
}

Test(blobdir, a_draft_is_visible_only_once_it_is_published)
{
    struct blob_draft *draft = write_draft("whole");
    cr_expect_not(blob_is_whole(blobdir, BLOB_LAYER, &key, 5), "a draft has no name yet");
    cr_assert(blob_draft_publish(draft, &error), "%s", error.message);
    blob_draft_free(draft);
    cr_expect(blob_is_whole(blobdir, BLOB_LAYER, &key, 5), "a published file has its name");
    cr_expect_not(blob_is_whole(blobdir, BLOB_LAYER, &key, 6), "another size is not whole");
}

Test(blobdir, a_draft_that_is_dropped_leaves_nothing)
{
    blob_draft_free(write_draft("half"));
    cr_expect(exists("tmp/node-one"), "the node's own directory stays");
    cr_expect_not(exists("tmp/node-one/layer-0"), "the draft is gone");
    cr_expect_not(blob_is_whole(blobdir, BLOB_LAYER, &key, 4), "and was never published");
}

Test(blobdir, a_published_file_replaces_an_older_one_whole)
{
    const char *const contents[] = {"older and longer", "newer"};
    for (size_t i = 0; i < 2; i++) {
        struct blob_draft *draft = write_draft(contents[i]);
        cr_assert(blob_draft_publish(draft, &error), "%s", error.message);
        blob_draft_free(draft);
    }
    char text[32] = "";
    int fd = blob_open(blobdir, BLOB_LAYER, &key, &error);
    cr_assert_geq(fd, 0, "%s", error.message);
    cr_expect_eq(read(fd, text, sizeof(text) - 1), 5);
    close(fd);
    cr_expect_str_eq(text, "newer", "the newer file is there, whole");
}

Test(blobdir, what_cannot_be_made_durable_gets_no_name)
{
    struct blob_draft *draft = write_draft("whole");
    fault = NO_FILE_FSYNC;
    cr_expect_not(blob_draft_sync(draft, &error), "the disk refused");
    cr_expect_not(blob_draft_publish(draft, &error), "the disk refused");
    fault = SOUND;
    cr_expect_not(blob_is_whole(blobdir, BLOB_LAYER, &key, 5), "it has no name");
    cr_expect(blob_draft_sync(draft, &error), "%s", error.message);
    fault = NO_FILE_FSYNC;
    cr_expect(blob_draft_publish(draft, &error), "it is durable already: %s", error.message);
    fault = SOUND;
    blob_draft_free(draft);
}

Test(blobdir, a_name_that_cannot_be_made_durable_is_told)
{
    struct blob_draft *draft = write_draft("whole");
    fault = NO_DIRECTORY_FSYNC;
    cr_expect_not(blob_draft_publish(draft, &error), "the disk refused");
    fault = SOUND;
    blob_draft_free(draft);
}

Test(blobdir, several_may_have_their_names_before_a_directory_is_synced)
{
    static const enum blob_kind kinds[] = {BLOB_FSMETA, BLOB_VMDK};
    struct blob_draft *drafts[2];
    for (size_t i = 0; i < 2; i++)
        drafts[i] = blob_draft_new(blobdir, kinds[i], &key, &error);
    cr_assert(drafts[0] && drafts[1], "%s", error.message);
    fault = NO_DIRECTORY_FSYNC;
    for (size_t i = 0; i < 2; i++)
        cr_expect(blob_draft_give_name(drafts[i], &error), "none is synced: %s", error.message);
    cr_expect_not(blob_draft_keep_name(drafts[0], &error), "the disk refused");
    fault = SOUND;
    for (size_t i = 0; i < 2; i++) {
        cr_expect(blob_is_whole(blobdir, kinds[i], &key, 0), "it has its name");
        cr_expect(blob_draft_keep_name(drafts[i], &error), "%s", error.message);
        blob_draft_free(drafts[i]);
    }
}

static bool is_there(const struct blob_draft *draft)
{
    bool there = false;
    cr_assert(blob_draft_look(draft, &there, &error), "%s", error.message);
    return there;
}

Test(blobdir, a_draft_is_there_until_somebody_clears_it_away)
{
    struct blob_draft *cleared = write_draft("one");
    struct blob_draft *published = write_draft("two");
    cr_expect(is_there(cleared) && is_there(published));
    cr_assert(blob_draft_publish(published, &error), "%s", error.message);
    cr_assert(blobdir_remove_node(blobdir, "node-one", &error), "%s", error.message);
    cr_expect_not(is_there(cleared), "it went with its node's directory");
    cr_expect(is_there(published), "it has its name");
    cr_expect_not(blob_draft_publish(cleared, &error), "there is nothing to name");
    blob_draft_free(cleared);
    blob_draft_free(published);
}

Test(blobdir, a_draft_is_opened_for_reading_alone)
{
    struct blob_draft *draft = write_draft("whole");
    char text[8] = "";
    int fd = blob_draft_open(draft, &error);
    cr_assert_geq(fd, 0, "%s", error.message);
    cr_expect_eq(pread(fd, text, sizeof(text), 0), 5);
    cr_expect_str_eq(text, "whole");
    cr_expect_eq(write(fd, "x", 1), -1, "nobody writes what was checked");
    close(fd);
    blob_draft_free(draft);
}

Test(blobdir, everyone_may_read_a_published_file_whatever_the_umask)
{
    mode_t old = umask(077);
    struct blob_draft *draft = write_draft("x");
    cr_assert(blob_draft_publish(draft, &error), "%s", error.message);
    umask(old);
    struct stat stat;
    cr_assert_eq(fstat(blob_draft_fd(draft), &stat), 0);
    blob_draft_free(draft);
    cr_expect_eq(stat.st_mode & 0777, 0644, "hosts read it as other users");
}

Test(blobdir, unlinking_tells_what_was_freed_and_may_be_repeated)
{
    struct blob_draft *draft = write_draft("some bytes");
    cr_assert(blob_draft_publish(draft, &error), "%s", error.message);
    struct stat stat;
    cr_assert_eq(fstat(blob_draft_fd(draft), &stat), 0);
    blob_draft_free(draft);

    int64_t freed = -1;
    cr_assert(blob_unlink(blobdir, BLOB_LAYER, &key, &freed, &error), "%s", error.message);
    cr_expect_eq(freed, (int64_t)stat.st_blocks * 512, "the allocated bytes");
    cr_assert(blob_unlink(blobdir, BLOB_LAYER, &key, &freed, &error), "again is fine");
    cr_expect_eq(freed, 0, "and frees nothing");
}

Test(blobdir, a_file_that_cannot_be_looked_at_is_not_unlinked)
{
    struct blob_draft *draft = write_draft("some bytes");
    cr_assert(blob_draft_publish(draft, &error), "%s", error.message);
    blob_draft_free(draft);

    int64_t freed = -1;
    failing_disk_look = EIO;
    cr_expect_not(blob_unlink(blobdir, BLOB_LAYER, &key, &freed, &error),
                  "what it frees is not known");
    failing_disk_look = 0;
    cr_expect_eq(error.os_errno, EIO);
    cr_expect_eq(freed, 0);
    cr_expect(blob_is_whole(blobdir, BLOB_LAYER, &key, 10), "a later pass takes it");
}

Test(blobdir, what_a_dead_node_left_is_listed_and_removed)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/new/blobs/tmp/0d0d0d0d-0000-4000-8000-00000000dead",
             directory);
    cr_assert_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/new/blobs/tmp/0d0d0d0d-0000-4000-8000-00000000dead/layer-7",
             directory);
    close(open(path, O_CREAT | O_WRONLY, 0644));

    char **nodes = blobdir_list_nodes(blobdir, &error);
    cr_assert_not_null(nodes, "%s", error.message);
    cr_assert_not_null(nodes[0]);
    cr_expect_str_eq(nodes[0], "0d0d0d0d-0000-4000-8000-00000000dead");
    for (size_t i = 0; nodes[i]; i++)
        free(nodes[i]);
    free(nodes);

    cr_assert(blobdir_remove_node(blobdir, "0d0d0d0d-0000-4000-8000-00000000dead", &error), "%s",
              error.message);
    cr_expect_not(exists("tmp/0d0d0d0d-0000-4000-8000-00000000dead"), "its directory is gone");
    cr_assert(blobdir_remove_node(blobdir, "0d0d0d0d-0000-4000-8000-00000000dead", &error),
              "again is fine");
}

Test(blobdir, a_node_whose_directory_others_removed_goes_on)
{
    blob_draft_free(write_draft("first"));
    cr_assert(blobdir_remove_node(blobdir, "node-one", &error), "%s", error.message);
    struct blob_draft *draft = write_draft("second");
    cr_expect(blob_draft_publish(draft, &error), "%s", error.message);
    blob_draft_free(draft);
}

static void touch(const char *relative)
{
    char path[384];
    snprintf(path, sizeof(path), "%s/new/blobs/%s", directory, relative);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    cr_assert_geq(fd, 0, "%s", path);
    close(fd);
}

#define HEX "abcd000000000000000000000000000000000000000000000000000000000000"

Test(blobdir, a_listing_tells_blobs_from_other_names_and_leaves_locks_out)
{
    cleanup_arena struct arena arena = {0};
    static const char *const left_out[] = {"sha256_" HEX ".erofs.lock", ".nfs000000000001"};
    static const char *const foreign[] = {"sha256_" HEX ".erofs.part", "sha256_" HEX, "x.lock",
                                          "sha256_ABCD" HEX ".erofs", HEX ".erofs"};
    char path[256];
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
        touch((snprintf(path, sizeof(path), "layers/%s", left_out[i]), path));
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        touch((snprintf(path, sizeof(path), "layers/%s", foreign[i]), path));
    touch("layers/sha256_" HEX ".erofs");

    cleanup_blob_list struct blob_list *list = blob_list_open(blobdir, BLOB_LAYER, &error);
    cr_assert_not_null(list, "%s", error.message);
    size_t blobs = 0;
    size_t others = 0;
    for (;;) { /* in pieces */
        struct blob_entry *entries = NULL;
        size_t count = 0;
        cr_assert(blob_list_next(list, 2, &arena, &entries, &count, &error), "%s", error.message);
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++) {
            blobs += entries[i].is_blob && digest_equal(&entries[i].key, &key);
            others += !entries[i].is_blob;
        }
    }
    cr_expect_eq(blobs, 1, "the one blob, with its key");
    cr_expect_eq(others, 5, "and the foreign names; %zu were told", others);
}

Test(blobdir, a_file_put_aside_is_kept_each_time_under_a_name_of_its_own)
{
    cleanup_arena struct arena arena = {0};
    const char *paths[2];
    for (size_t i = 0; i < 2; i++) {
        touch("layers/sha256_" HEX ".erofs");
        cr_assert(
            blob_quarantine(blobdir, BLOB_LAYER, "sha256_" HEX ".erofs", &arena, &paths[i], &error),
            "%s", error.message);
        cr_assert_not_null(paths[i]);
        cr_expect(exists(paths[i]), "%s is there", paths[i]);
        cr_expect_not(exists("layers/sha256_" HEX ".erofs"), "and not where it was");
    }
    cr_expect_str_neq(paths[0], paths[1]);
    cr_assert(blob_quarantine(blobdir, BLOB_LAYER, "gone", &arena, &paths[0], &error), "is fine");
    cr_expect_null(paths[0]);
}

Test(blobdir, strays_under_tmp_are_found_once_they_are_old_and_no_node_s)
{
    cleanup_arena struct arena arena = {0};
    char path[384];
    blob_draft_free(write_draft("a node's own"));
    for (size_t i = 0; i < 2; i++) {
        static const char *const names[] = {"part.work", "0d0d0d0d-0000-4000-8000-00000000dead"};
        snprintf(path, sizeof(path), "%s/new/blobs/tmp/%s", directory, names[i]);
        cr_assert_eq(mkdir(path, 0755), 0);
    }
    touch("tmp/blob.part");
    touch("tmp/part.work/data");
    touch("tmp/0d0d0d0d-0000-4000-8000-00000000dead/layer-1");
    snprintf(path, sizeof(path), "%s/new/blobs/tmp/link", directory);
    cr_assert_eq(symlink("nowhere", path), 0);

    struct blob_strays strays;
    int64_t now_ms = 0;
    cr_assert(blobdir_now_ms(blobdir, &now_ms, &error), "%s", error.message);
    cr_assert(blobdir_find_strays(blobdir, now_ms - 60000, true, &arena, &strays, &error), "%s",
              error.message);
    cr_expect_eq(strays.count, 0, "young ones stay");
    cr_assert(blobdir_find_strays(blobdir, now_ms + 60000, true, &arena, &strays, &error), "%s",
              error.message);
    cr_expect_eq(strays.count, 2, "%zu are told", strays.count);
    cr_expect_not(exists("tmp/blob.part"));
    cr_expect_not(exists("tmp/part.work"), "a directory goes with its last file");
    cr_expect(exists("tmp/0d0d0d0d-0000-4000-8000-00000000dead/layer-1"), "a node's is a node's");
}
