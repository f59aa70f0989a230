/* A real PostgreSQL for unit tests: one server for the whole run, and in it a fresh,
 * migrated database for each test that asks for one:
 *
 *     TestSuite(images, .init = database_begin, .fini = database_end);
 *     Test(images, a_promise) { … catalogue_list_images(database_catalogue, …) … }
 *
 * The runner starts the server before the first test and stops it after the last
 * (Criterion runs each test in a process of its own; they find the server by
 * LARDER_TEST_DATABASE). Set that variable yourself, to a keyword conninfo of a
 * superuser, to use a server that runs already.
 */
#ifndef LARDER_TESTS_UNIT_DATABASE_H
#define LARDER_TESTS_UNIT_DATABASE_H

#include "store/catalogue/catalogue.h"

/* Of this test, between database_begin() and database_end(). */
extern struct catalogue *database_catalogue;

void database_begin(void);
void database_end(void);

/* The conninfo of the test's database. */
[[nodiscard]] const char *database_conninfo(void);

/* Runs SQL, of several statements if need be, on a connection of its own; gives the
 * last statement's first value, or "". Fails the test when it fails. Besides the
 * schema, the database has these to fill it with:
 *   digest_of(seed text) -> 'sha256:…'
 *   add_image(reference, 'os/architecture[/variant]', manifest_seed, index_seed or NULL,
 *             layer_count, created_at): layers of the same index are shared by all images */
const char *database_sql(const char *sql);

/* digest_of() in C; one of a few static buffers. */
[[nodiscard]] const char *database_digest(const char *seed);

/* Makes <directory> one that private_postgres_start() has made and left before: a copy of
 * the runner's, for initdb takes its time. */
void cluster_copy(const char *directory);

/* Makes an empty directory, and removes one with all that is in it. */
void scratch_make(char path[static 64]);
void scratch_remove(const char *path);

#endif
