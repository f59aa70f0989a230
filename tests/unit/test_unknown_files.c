/* Files of the directory that the catalogue does not know. */
#include "store/unknown_files.h"

#include "tests/unit/database.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* More than the walk asks for at a time. */
enum { FILES = 2100, KNOWN = 500 };

static char directory[64];
static struct blobdir *blobdir;

static void make_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/layers/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    cr_assert(fd >= 0);
    close(fd);
}

static void begin(void)
{
    struct error error;
    database_begin();
    scratch_make(directory);
    blobdir = blobdir_open(directory, "00000000-0000-0000-0000-000000000001", &error);
    cr_assert_not_null(blobdir, "%s", error.message);
    for (int i = 0; i < FILES; i++) {
        char seed[32];
        char name[BLOB_PATH_SIZE];
        struct digest key;
        snprintf(seed, sizeof(seed), "layer %d", i);
        cr_assert(digest_parse(database_digest(seed), &key));
        blob_name(BLOB_LAYER, &key, name);
        make_file(name);
    }
    make_file("of-no-blob");
    database_sql("INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes)"
                 " SELECT digest_of('layer ' || n), 4096, digest_of('erofs'), 1"
                 "   FROM generate_series(0, 249) n;"
                 "INSERT INTO condemned_files (kind, digest)"
                 " SELECT 'layer', digest_of('layer ' || n) FROM generate_series(250, 499) n");
}

static void end(void)
{
    blobdir_close(blobdir);
    scratch_remove(directory);
    database_end();
}

TestSuite(unknown_files, .init = begin, .fini = end);

struct seen {
    int unknown;
    int foreign;
    size_t files;
    size_t enough; /* files */
};

static bool see_unknown(void *context, const struct blob_id *file, struct error *error)
{
    (void)error;
    cr_expect_eq(file->kind, BLOB_LAYER);
    ((struct seen *)context)->unknown++;
    return true;
}

static bool see_foreign(void *context, enum blob_kind kind, const char *name, struct error *error)
{
    (void)kind;
    (void)error;
    cr_expect_str_eq(name, "of-no-blob");
    ((struct seen *)context)->foreign++;
    return true;
}

static bool go_on(void *context, size_t files, bool is_last)
{
    struct seen *seen = context;
    seen->files += files;
    cr_expect_eq(is_last, seen->files == FILES + 1);
    return seen->files < seen->enough;
}

static struct seen walk(size_t enough)
{
    struct error error = {0};
    struct seen seen = {.enough = enough};
    const struct unknown_walk walk = {.catalogue = database_catalogue,
                                      .blobdir = blobdir,
                                      .context = &seen,
                                      .unknown = see_unknown,
                                      .foreign = see_foreign,
                                      .go_on = go_on};
    cr_expect(unknown_files_walk(&walk, BLOB_LAYER, &error), "%s", error.message);
    return seen;
}

Test(unknown_files, are_those_neither_catalogued_nor_condemned)
{
    struct seen seen = walk(SIZE_MAX);
    cr_expect_eq(seen.files, FILES + 1);
    cr_expect_eq(seen.unknown, FILES - KNOWN);
    cr_expect_eq(seen.foreign, 1);
}

Test(unknown_files, are_looked_for_until_it_is_enough)
{
    cr_expect_eq(walk(1).files, 1000, "a batch");
}
