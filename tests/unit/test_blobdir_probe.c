#include "database.h"
#include "failing_calls.h"

#include "store/blobdir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static char root[64];
static struct blobdir *blobdir;
static struct error error;

static void setup(void)
{
    scratch_make(root);
    blobdir = blobdir_open(root, "node-one", &error);
    cr_assert_not_null(blobdir, "%s", error.message);
}

static void teardown(void)
{
    fault = SOUND;
    blobdir_close(blobdir);
    scratch_remove(root);
}

TestSuite(blobdir_probe, .init = setup, .fini = teardown);

Test(blobdir_probe, a_sound_file_system_passes_and_nothing_is_left)
{
    char path[128];
    cr_assert(blobdir_probe(blobdir, &error), "%s", error.message);
    snprintf(path, sizeof(path), "%s/tmp/node-one", root);
    cr_expect_eq(rmdir(path), 0, "tmp/node-one is empty: %s", strerror(errno));
}

Test(blobdir_probe, what_a_file_system_cannot_do_is_told)
{
    static const struct {
        enum fault fault;
        const char *words;
    } rows[] = {
        {NO_FILE_FSYNC, "fsync of a file fails"},
        {NO_DIRECTORY_FSYNC, "fsync of a directory fails"},
        {NO_LINK, "link(2) fails"},
        {LINK_OVER, "a name that is taken"},
        {NO_RENAME, "rename(2) over a file fails"},
        {RENAME_COPIES, "leaves the old name"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fault = rows[i].fault;
        error = (struct error){0};
        cr_expect_not(blobdir_probe(blobdir, &error), "refused: %s", rows[i].words);
        fault = SOUND;
        cr_expect_not_null(strstr(error.message, rows[i].words), "says \"%s\": %s", rows[i].words,
                           error.message);
        cr_expect(blobdir_probe(blobdir, &error), "nothing is in the way: %s", error.message);
    }
}
