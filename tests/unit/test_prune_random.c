/* Prunes of random catalogues, held against what they should take by definition: SQL that
 * goes through the candidates one by one. */
#include "store/catalogue/removal.h"

#include "tests/unit/database.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* random_catalogue(seed): twelve references to eight manifests of ten layers, some of them
 * used in every way there is; leftovers that nothing reaches. */
static const char functions_sql[] =
    "CREATE FUNCTION random_catalogue(seed double precision) RETURNS void LANGUAGE plpgsql AS $$"
    "BEGIN"
    "  PERFORM setseed(seed);"
    "  INSERT INTO configs SELECT digest_of('c' || n), '{}', '{}' FROM generate_series(1, 8) n;"
    "  INSERT INTO manifests (digest, media_type, raw, config_digest, os, architecture, variant,"
    "      layer_count, size_bytes, fsmeta_size_bytes, fsmeta_digest, vmdk_size_bytes,"
    "      vmdk_digest, allocated_bytes)"
    "    SELECT digest_of('m' || n), 'x', '{}', digest_of('c' || n), 'linux', 'amd64', '', 1, 1,"
    "           4096, digest_of('f' || n), 512,"
    "           digest_of('v' || n), CASE WHEN random() < 0.8 THEN 1 + floor(random() * 99) END"
    "      FROM generate_series(1, 8) n;"
    "  INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes,"
    "      allocated_bytes)"
    "    SELECT digest_of('l' || n), 4096 * n, digest_of('e' || n), 1,"
    "           CASE WHEN random() < 0.8 THEN floor(random() * 999) END"
    "      FROM generate_series(1, 10) n;"
    "  INSERT INTO manifest_layers SELECT digest_of('m' || m), p, digest_of('l' || l),"
    "      digest_of('b'), 'x', 1"
    "    FROM (SELECT m, p, 1 + floor(random() * 10)::int AS l"
    "            FROM generate_series(1, 8) m, generate_series(0, 2) p OFFSET 0) x;"
    "  INSERT INTO image_refs (reference, os, architecture, variant, name, manifest_digest,"
    "      last_used_at, description_allocated_bytes)"
    "    SELECT 'q.io/' || CASE WHEN n < 6 THEN 'a' ELSE 'b' END || n || ':1', 'linux', 'amd64',"
    "           '', 'x', digest_of('m' || 1 + floor(random() * 8)::int),"
    "           now() - floor(random() * 5) * interval '1 hour' - interval '1 minute',"
    "           CASE WHEN random() < 0.8 THEN 7 END"
    "      FROM generate_series(1, 12) n;"
    "  INSERT INTO sandboxes (id, host, rootfs, reference, manifest_digest, held_digest,"
    "      expires_at)"
    "    SELECT 's' || n, 'h', '{\"type\":\"oci\"}', 'q.io/x:1', d, d,"
    "           CASE n WHEN 1 THEN now() + interval '1 hour' ELSE now() - interval '1 hour' END"
    "      FROM (SELECT n, digest_of('m' || 1 + floor(random() * 8)::int) AS d"
    "              FROM generate_series(1, 3) n WHERE random() < 0.7) x;"
    "  INSERT INTO snapshots (id, manifest_digest, held_digest)"
    "    SELECT 'p', d, d FROM (SELECT digest_of('m' || 1 + floor(random() * 8)::int) AS d"
    "                            WHERE random() < 0.5) x;"
    "  INSERT INTO pins SELECT p FROM unnest(ARRAY['q.io/a1:1', 'q.io/b1*']) p"
    "   WHERE random() < 0.3;"
    "  INSERT INTO pulls (reference, platform, policy, force, state)"
    "    SELECT CASE n WHEN 3 THEN 'q.io/new:1' ELSE 'q.io/a' || n || ':1' END, 'linux/amd64',"
    "           'always', false, CASE n WHEN 1 THEN 'queued' ELSE 'fetching' END"
    "      FROM generate_series(1, 3) n WHERE random() < 0.5;"
    "  INSERT INTO pull_layers (pull_id, position, diff_id, blob_digest, media_type, total_bytes,"
    "      held_diff_id)"
    "    SELECT id, n, d, digest_of('b'), 'x', 1, d"
    "      FROM (SELECT id, n, digest_of('l' || 1 + floor(random() * 10)::int) AS d"
    "              FROM pulls, generate_series(0, 3) n WHERE state = 'fetching') x;"
    "END $$;"
    /* After the first k candidates of prune_order went. */
    "CREATE TABLE prune_order (k bigint, reference text);"
    "CREATE FUNCTION manifests_left(k bigint) RETURNS SETOF text LANGUAGE sql AS $$"
    "  SELECT manifest_digest FROM image_refs r WHERE NOT EXISTS ("
    "      SELECT FROM prune_order o WHERE o.reference = r.reference AND o.k <= $1)"
    "  UNION SELECT held_digest FROM snapshots WHERE held_digest IS NOT NULL"
    "  UNION SELECT held_digest FROM sandboxes WHERE held_digest IS NOT NULL"
    "    AND (expires_at IS NULL OR expires_at > now()) $$;"
    "CREATE FUNCTION layers_left(k bigint) RETURNS SETOF text LANGUAGE sql AS $$"
    "  SELECT diff_id FROM manifest_layers WHERE manifest_digest IN (SELECT manifests_left($1))"
    "  UNION SELECT held_diff_id FROM pull_layers WHERE held_diff_id IS NOT NULL $$;"
    "CREATE FUNCTION bytes_left(k bigint) RETURNS bigint LANGUAGE sql AS $$"
    "  SELECT (SELECT coalesce(sum(coalesce(allocated_bytes, erofs_size_bytes)), 0) FROM layers"
    "           WHERE diff_id IN (SELECT layers_left($1)))"
    "       + (SELECT coalesce(sum(coalesce(allocated_bytes,"
    "                 fsmeta_size_bytes + vmdk_size_bytes)), 0) FROM manifests"
    "           WHERE digest IN (SELECT manifests_left($1)))"
    "       + (SELECT coalesce(sum(description_allocated_bytes), 0) FROM image_refs r"
    "           WHERE NOT EXISTS (SELECT FROM prune_order o"
    "                              WHERE o.reference = r.reference AND o.k <= $1)) $$;"
    "CREATE FUNCTION expected(glob text, unused bigint, keep bigint) RETURNS text"
    "    LANGUAGE plpgsql AS $$"
    "DECLARE taken bigint;"
    "BEGIN"
    "  DELETE FROM prune_order;"
    "  INSERT INTO prune_order SELECT row_number() OVER (ORDER BY last_used_at, reference),"
    "         reference"
    "    FROM image_refs r"
    "   WHERE (glob IS NULL OR reference LIKE glob_to_like(glob))"
    "     AND last_used_at <= now() - unused * interval '1 second'"
    "     AND manifest_digest NOT IN (SELECT held_digest FROM snapshots"
    "                                  UNION SELECT held_digest FROM sandboxes"
    "                                         WHERE expires_at IS NULL OR expires_at > now())"
    "     AND NOT EXISTS (SELECT FROM pins WHERE reference LIKE glob_to_like(pattern))"
    "     AND reference NOT IN (SELECT p.reference FROM pulls p);"
    "  SELECT min(k) INTO taken FROM (SELECT 0 AS k UNION SELECT k FROM prune_order) x"
    "   WHERE bytes_left(k) <= keep;"
    "  IF taken IS NULL THEN SELECT count(*) INTO taken FROM prune_order; END IF;"
    "  RETURN format('%s references, %s manifests, %s layers, %s bytes', taken,"
    "      8 - (SELECT count(*) FROM manifests_left(taken)),"
    "      10 - (SELECT count(*) FROM layers_left(taken)),"
    "      (SELECT sum(coalesce(allocated_bytes, erofs_size_bytes)) FROM layers)"
    "      + (SELECT sum(coalesce(allocated_bytes, fsmeta_size_bytes + vmdk_size_bytes))"
    "           FROM manifests)"
    "      + (SELECT coalesce(sum(description_allocated_bytes), 0) FROM image_refs)"
    "      - bytes_left(taken));"
    "END $$";

static void begin(void)
{
    database_begin();
    database_sql(functions_sql);
}

TestSuite(prune_random, .init = begin, .fini = database_end, .timeout = 120);

static const char *prune(const struct prune_options *options, struct arena *arena)
{
    struct removal removal;
    struct error error;
    cr_assert(catalogue_prune(database_catalogue, options, &removal, &error), "%s", error.message);
    return arena_printf(
        arena,
        "%" PRId64 " references, %" PRId64 " manifests, %" PRId64 " layers, %" PRId64 " bytes",
        removal.references, removal.manifests, removal.layers, removal.allocated_bytes);
}

static const char *expected(const struct prune_options *options, struct arena *arena)
{
    const char *glob =
        options->reference_glob ? arena_printf(arena, "'%s'", options->reference_glob) : "NULL";
    return arena_strdup(
        arena, database_sql(arena_printf(arena, "SELECT expected(%s, %" PRId64 ", %" PRId64 ")",
                                         glob, options->unused_for_seconds,
                                         options->has_keep_bytes ? options->keep_bytes : -1)));
}

/* One of `count`, from 0. */
static int draw(unsigned short state[3], int count)
{
    return (int)(nrand48(state) % count);
}

/* keep_bytes is what some prune would leave, or one more or less. */
static struct prune_options random_options(unsigned short seed, struct arena *arena)
{
    unsigned short state[3] = {seed, 1, 2};
    struct prune_options options = {
        .unused_for_seconds = draw(state, 2) ? 0 : draw(state, 5) * 3600,
        .reference_glob = draw(state, 3) ? NULL : "q.io/b*",
    };
    (void)expected(&options, arena);
    options.has_keep_bytes = draw(state, 4) > 0;
    const char *left = database_sql(arena_printf(arena, "SELECT bytes_left(%d)", draw(state, 6)));
    options.keep_bytes = strtoll(left, NULL, 10) + draw(state, 3) - 1;
    return options;
}

static const char everything_goes[] =
    "DELETE FROM pull_layers; DELETE FROM pulls; DELETE FROM pins; DELETE FROM snapshots;"
    "DELETE FROM sandboxes; DELETE FROM image_refs; DELETE FROM manifests; DELETE FROM layers;"
    "DELETE FROM configs; DELETE FROM condemned_files";

Test(prune_random, a_prune_takes_what_it_should_and_its_dry_run_counts_the_same)
{
    for (unsigned short seed = 1; seed <= 30; seed++) {
        cleanup_arena struct arena arena = {0};
        database_sql(arena_printf(&arena, "SELECT random_catalogue(%f)", seed / 1000.0));
        struct prune_options options = random_options(seed, &arena);
        const char *wanted = expected(&options, &arena);
        options.dry_run = true;
        cr_expect_str_eq(prune(&options, &arena), wanted, "the dry run of seed %d: %s, not %s",
                         seed, wanted, prune(&options, &arena));
        cr_expect_str_eq(database_sql("SELECT (SELECT count(*) FROM image_refs)"
                                      "     + (SELECT count(*) FROM condemned_files)"),
                         "12", "a dry run changes nothing, seed %d", seed);
        options.dry_run = false;
        const char *real = prune(&options, &arena);
        cr_expect_str_eq(real, wanted, "the prune of seed %d: %s, not %s", seed, wanted, real);
        database_sql(everything_goes);
    }
}
