/* What points at what: the triggers that do the work of foreign keys (0005_removal.sql). */
#include "tests/unit/database.h"

#include <criterion/criterion.h>

static void begin(void)
{
    database_begin();
    database_sql("SELECT add_image('q.io/a:1', 'linux/amd64', 'm1', NULL, 2, now());"
                 "INSERT INTO snapshots (id, manifest_digest) VALUES ('p', digest_of('m1'));"
                 "INSERT INTO sandboxes (id, host, rootfs, reference, manifest_digest)"
                 " VALUES ('s', 'h', '{\"type\":\"oci\"}', 'q.io/a:1', digest_of('m1'));"
                 "INSERT INTO pulls (reference, platform, policy, force)"
                 " VALUES ('q.io/a:1', 'linux/amd64', 'always', false);"
                 "INSERT INTO pull_layers (pull_id, position, diff_id, blob_digest, media_type,"
                 "    total_bytes)"
                 " SELECT id, 0, digest_of('gone'), digest_of('b'), 'x', 1 FROM pulls;"
                 "CREATE FUNCTION sqlstate_of(statement text) RETURNS text LANGUAGE plpgsql AS $$"
                 "BEGIN"
                 "  EXECUTE statement;"
                 "  RAISE EXCEPTION 'it is fine';"
                 "EXCEPTION WHEN OTHERS THEN"
                 "  RETURN SQLSTATE;"
                 "END $$");
}

TestSuite(catalogue_keys, .init = begin, .fini = database_end);

/* The SQLSTATE that a statement fails with; it is rolled back in any case. */
static const char *sqlstate_of(const char *sql)
{
    cleanup_arena struct arena arena = {0};
    return database_sql(arena_printf(&arena, "SELECT sqlstate_of($sql$%s$sql$)", sql));
}

static const char *const dangling[] = {
    "UPDATE manifests SET config_digest = digest_of('none')",
    "UPDATE manifest_layers SET diff_id = digest_of('none')",
    "UPDATE manifest_layers SET manifest_digest = digest_of('none')",
    "INSERT INTO manifest_layers SELECT digest_of('none'), 9, diff_id, diff_id, 'x', 1"
    "  FROM layers LIMIT 1",
    "UPDATE image_refs SET manifest_digest = digest_of('none')",
    "UPDATE image_refs SET architecture = 'arm64'",
    "UPDATE image_refs SET variant = 'v8'",
    "UPDATE sandboxes SET manifest_digest = digest_of('none'), held_digest = digest_of('none')",
    "UPDATE snapshots SET manifest_digest = digest_of('none'), held_digest = digest_of('none')",
    "UPDATE pull_layers SET held_diff_id = diff_id",
    "DELETE FROM configs",
    "DELETE FROM layers",
    "DELETE FROM manifests",
    "UPDATE configs SET digest = digest",
    "UPDATE manifests SET digest = digest",
    "UPDATE layers SET diff_id = diff_id",
};

Test(catalogue_keys, nothing_ever_points_at_what_is_not_there)
{
    for (size_t i = 0; i < sizeof(dangling) / sizeof(dangling[0]); i++)
        cr_expect_str_eq(sqlstate_of(dangling[i]), "23503", "%s is refused, not: %s", dangling[i],
                         sqlstate_of(dangling[i]));
}

Test(catalogue_keys, a_manifest_goes_with_its_layers_once_nothing_points_at_it)
{
    static const struct {
        const char *hold;
        const char *let_go;
    } holders[] = {
        {"SELECT 1", "DELETE FROM image_refs"},
        {"UPDATE sandboxes SET held_digest = manifest_digest", "DELETE FROM sandboxes"},
        {"UPDATE snapshots SET held_digest = manifest_digest",
         "UPDATE snapshots SET held_digest = NULL"},
    };
    database_sql(holders[1].hold);
    database_sql(holders[2].hold);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(sqlstate_of("DELETE FROM manifests"), "23503", "before: %s",
                         holders[i].let_go);
        database_sql(holders[i].let_go);
    }
    database_sql("DELETE FROM manifests");
    cr_expect_str_eq(database_sql("SELECT count(*) FROM manifest_layers"), "0");
    database_sql("DELETE FROM layers; DELETE FROM configs");
}

Test(catalogue_keys, a_held_layer_stays)
{
    database_sql("DELETE FROM snapshots; DELETE FROM sandboxes; DELETE FROM image_refs;"
                 "DELETE FROM manifests;"
                 "UPDATE pull_layers SET diff_id = digest_of('layer 0'),"
                 "    held_diff_id = digest_of('layer 0')");
    cr_expect_str_eq(sqlstate_of("DELETE FROM layers"), "23503");
    database_sql("DELETE FROM layers WHERE diff_id <> digest_of('layer 0')");
    database_sql("UPDATE pull_layers SET held_diff_id = NULL; DELETE FROM layers");
}
