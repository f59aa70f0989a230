#include "store/scrub.h"

#include "store/metrics.h"

#include <stdlib.h>

/* Nothing is read again sooner, in seconds. */
#define NOT_SOONER_THAN "interval '1 day'"

static const struct statement claim_layer = {
    "scrub_layer",
    "UPDATE layers SET scrubbed_at = now()"
    " WHERE diff_id = (SELECT diff_id"
    "                    FROM (SELECT diff_id, scrubbed_at FROM layers"
    "                           ORDER BY scrubbed_at NULLS FIRST LIMIT 1"
    "                             FOR UPDATE SKIP LOCKED) next"
    "                   WHERE scrubbed_at IS NULL OR scrubbed_at < now() - " NOT_SOONER_THAN ")"
    " RETURNING diff_id, erofs_size_bytes, erofs_digest"};
static const struct statement claim_manifest = {
    "scrub_manifest",
    "UPDATE manifests SET scrubbed_at = now()"
    " WHERE digest = (SELECT digest"
    "                   FROM (SELECT digest, scrubbed_at FROM manifests"
    "                          ORDER BY scrubbed_at NULLS FIRST LIMIT 1"
    "                            FOR UPDATE SKIP LOCKED) next"
    "                  WHERE scrubbed_at IS NULL OR scrubbed_at < now() - " NOT_SOONER_THAN ")"
    " RETURNING digest, fsmeta_size_bytes, fsmeta_digest, vmdk_size_bytes, vmdk_digest"};
static const struct statement find_descriptions = {
    "scrub_descriptions",
    "SELECT description_digest(r.reference),"
    "       string_agg(r.manifest_digest, ' ')"
    "  FROM image_refs r"
    " WHERE r.reference IN (SELECT reference FROM image_refs WHERE manifest_digest = $1)"
    " GROUP BY r.reference"};
/* It was not read to its end. */
static const struct statement unclaim_layer = {
    "unscrub_layer", "UPDATE layers SET scrubbed_at = NULL WHERE diff_id = $1"};
static const struct statement unclaim_manifest = {
    "unscrub_manifest", "UPDATE manifests SET scrubbed_at = NULL WHERE digest = $1"};

static bool query(const struct scrub_config *config, const struct statement *statement,
                  const char *parameter, struct arena *arena, struct rows *rows,
                  struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(config->catalogue, error);
    return session && (parameter ? QUERY(session, statement, arena, rows, error, parameter)
                                 : session_query(session, statement, NULL, 0, arena, rows, error));
}

static struct digest must_parse(const char *text)
{
    struct digest digest;
    if (!digest_parse(text, &digest))
        abort(); /* the column's type admits nothing else */
    return digest;
}

/* It looked wrong. Under its lock, and without delay, it is looked at again. */
static bool handle_damage(const struct scrub_config *config, const struct blob_id *file,
                          struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct blob_reading reading = {.bytes = true, .stop = config->stop};
    struct damage damage;
    struct damaged_image image = {0};
    const char *pull_id = NULL;
    if (!damage_confirm(config->catalogue, config->blobdir, file, &reading, true, &arena, &damage,
                        error))
        return false;
    if (damage.busy || !damage.is_recorded || damage.condition == BLOB_IS_WHOLE)
        return true;
    metric_add(METRIC_DAMAGED_FILES, 1, file->kind);
    bool asked = damage.condition == BLOB_IS_UNREADABLE || /* left, for it may be in order */
                 (damage_find_image(config->catalogue, file, &arena, &image, error) &&
                  (!image.reference ||
                   damage_queue_pull(config->catalogue, &image, &arena, &pull_id, error)));
    config->tell(config->context, file, &damage, &image, pull_id);
    return asked;
}

static bool scrub_file(const struct scrub_config *config, const struct blob_record *record,
                       struct scrubbed *scrubbed, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct blob_reading reading = {
        .bytes = true, .bytes_per_second = config->bytes_per_second, .stop = config->stop};
    enum blob_condition condition;
    const char *detail = NULL;
    if (atomic_load(config->stop))
        return true;
    if (!blob_check(config->blobdir, record, &reading, &arena, &condition, &detail, error))
        return false;
    scrubbed->files++;
    scrubbed->bytes += reading.read_bytes;
    metric_add(METRIC_SCRUBBED_FILES, 1, record->id.kind);
    metric_add(METRIC_SCRUBBED_BYTES, reading.read_bytes);
    return condition == BLOB_IS_WHOLE || handle_damage(config, &record->id, error);
}

static bool scrub_layer(const struct scrub_config *config, const struct rows *rows,
                        struct scrubbed *scrubbed, struct error *error)
{
    const struct blob_record record = {
        .id = {BLOB_LAYER, must_parse(rows_text(rows, 0, 0))},
        .size_bytes = rows_int(rows, 0, 1),
        .digest = must_parse(rows_text(rows, 0, 2)),
    };
    return scrub_file(config, &record, scrubbed, error);
}

static bool scrub_descriptions(const struct scrub_config *config, const char *manifest_digest,
                               struct scrubbed *scrubbed, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!query(config, &find_descriptions, manifest_digest, &arena, &rows, error))
        return false;
    for (size_t row = 0; row < rows.count; row++) {
        const struct blob_record record = {
            .id = {BLOB_MANIFEST, must_parse(rows_text(&rows, row, 0))},
            .manifest_digests = rows_text(&rows, row, 1),
        };
        if (!scrub_file(config, &record, scrubbed, error))
            return false;
    }
    return true;
}

static bool scrub_manifest(const struct scrub_config *config, const struct rows *rows,
                           struct scrubbed *scrubbed, struct error *error)
{
    struct digest key = must_parse(rows_text(rows, 0, 0));
    const struct blob_record fsmeta = {
        .id = {BLOB_FSMETA, key},
        .size_bytes = rows_int(rows, 0, 1),
        .digest = must_parse(rows_text(rows, 0, 2)),
    };
    const struct blob_record vmdk = {
        .id = {BLOB_VMDK, key},
        .size_bytes = rows_int(rows, 0, 3),
        .digest = must_parse(rows_text(rows, 0, 4)),
    };
    return scrub_file(config, &fsmeta, scrubbed, error) &&
           scrub_file(config, &vmdk, scrubbed, error) &&
           scrub_descriptions(config, rows_text(rows, 0, 0), scrubbed, error);
}

bool scrub_next(const struct scrub_config *config, bool layer, struct scrubbed *scrubbed,
                struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    *scrubbed = (struct scrubbed){0};
    if (!query(config, layer ? &claim_layer : &claim_manifest, NULL, &arena, &rows, error))
        return false;
    scrubbed->was_due = rows.count > 0;
    if (!scrubbed->was_due)
        return true;
    if (!(layer ? scrub_layer : scrub_manifest)(config, &rows, scrubbed, error))
        return false;
    struct rows none;
    return !atomic_load(config->stop) || query(config, layer ? &unclaim_layer : &unclaim_manifest,
                                               rows_text(&rows, 0, 0), &arena, &none, error);
}
