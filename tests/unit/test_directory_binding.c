#include "database.h"

#include "store/directory_binding.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char root[64];
static struct error error;

static void setup(void)
{
    database_begin();
    scratch_make(root);
}

static void teardown(void)
{
    scratch_remove(root);
    database_end();
}

TestSuite(directory_binding, .init = setup, .fini = teardown);

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static bool bind_as(const char *name, enum directory_claim claim)
{
    const char *path = path_of(name);
    error = (struct error){0};
    struct blobdir *blobdir = blobdir_open(path, "node-one", &error);
    cr_assert_not_null(blobdir, "%s", error.message);
    bool bound = directory_bind(database_catalogue, blobdir, path, claim, &error);
    blobdir_close(blobdir);
    return bound;
}

static bool bind_to(const char *name)
{
    return bind_as(name, DIRECTORY_MUST_MATCH);
}

static bool is_marked(const char *name)
{
    char path[192];
    snprintf(path, sizeof(path), "%s/larder.id", path_of(name));
    return access(path, F_OK) == 0;
}

/* As if the database were another: all that a mark knows of it is its id. */
static void become_another_catalogue(void)
{
    database_sql("UPDATE catalogue SET id = gen_random_uuid(), directory_id = NULL");
}

static void expect_refused(const char *name, enum directory_claim claim, const char *words)
{
    cr_expect_not(bind_as(name, claim), "%s is refused", name);
    cr_expect_not_null(strstr(error.message, words), "says \"%s\": %s", words, error.message);
}

Test(directory_binding, a_new_catalogue_takes_the_first_directory_and_knows_it_again)
{
    cr_assert(bind_to("one"), "%s", error.message);
    cr_expect(bind_to("one"), "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT directory_id IS NOT NULL FROM catalogue"), "t");
}

Test(directory_binding, an_empty_directory_in_place_of_ours_is_refused_and_not_marked)
{
    cr_assert(bind_to("one"));
    expect_refused("mount-point", DIRECTORY_MUST_MATCH, "mounted");
    expect_refused("mount-point", DIRECTORY_TAKE_OVER, "--adopt-directory");
    expect_refused("mount-point", DIRECTORY_LOOK, "mounted");
    cr_expect_not(is_marked("mount-point"), "a refusal changes nothing");
}

Test(directory_binding, the_directory_of_another_catalogue_is_refused)
{
    cr_assert(bind_to("one"));
    become_another_catalogue();
    expect_refused("one", DIRECTORY_MUST_MATCH, "belongs to another catalogue");
    cr_assert(bind_to("two"), "%s", error.message);
    expect_refused("one", DIRECTORY_TAKE_OVER, "belongs to another catalogue");
}

Test(directory_binding, two_directories_of_one_catalogue_are_told_apart)
{
    /* Two nodes that began at once, on hosts that do not share. */
    cr_assert(bind_to("one"));
    database_sql("CREATE TABLE kept AS SELECT * FROM catalogue;"
                 "UPDATE catalogue SET directory_id = NULL");
    cr_assert(bind_to("two"));
    expect_refused("one", DIRECTORY_MUST_MATCH, "is not the one of this catalogue");
    database_sql("UPDATE catalogue SET directory_id = kept.directory_id FROM kept");
    cr_expect(bind_to("one"), "%s", error.message);
}

Test(directory_binding, a_crash_between_mark_and_row_is_finished_by_the_next_start)
{
    cr_assert(bind_to("one"));
    database_sql("UPDATE catalogue SET directory_id = NULL");
    cr_expect(bind_to("one"), "%s", error.message);
    cr_expect_str_eq(database_sql("SELECT directory_id IS NOT NULL FROM catalogue"), "t");
}

Test(directory_binding, an_empty_catalogue_looks_at_any_directory_and_takes_over_when_told)
{
    cr_assert(bind_to("one"));
    become_another_catalogue();
    cr_expect(bind_as("one", DIRECTORY_LOOK), "%s", error.message);
    expect_refused("one", DIRECTORY_MUST_MATCH, "larder fsck --repair");
    cr_expect(bind_as("one", DIRECTORY_TAKE_OVER), "%s", error.message);
    cr_expect(bind_to("one"), "%s", error.message);
}

Test(directory_binding, a_person_may_adopt_any_directory)
{
    cr_assert(bind_to("lost"));
    cr_expect(bind_as("new", DIRECTORY_ADOPT), "%s", error.message);
    cr_expect(bind_to("new"), "%s", error.message);
    expect_refused("lost", DIRECTORY_MUST_MATCH, "is not the one of this catalogue");
    become_another_catalogue();
    cr_assert(bind_to("two"));
    cr_expect(bind_as("new", DIRECTORY_ADOPT), "%s", error.message);
    cr_expect(bind_to("new"), "%s", error.message);
}

Test(directory_binding, a_mark_that_is_none_of_ours_is_refused)
{
    cr_assert(bind_to("one"));
    char path[192];
    snprintf(path, sizeof(path), "%s/larder.id", path_of("one"));
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("catalogue\n", file);
    fclose(file);
    expect_refused("one", DIRECTORY_MUST_MATCH, "none of Larder's");
}
