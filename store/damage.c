#include "store/damage.h"

#include "store/catalogue/pulls.h"

#include <stdlib.h>

static const struct statement find_record[BLOB_KIND_COUNT] = {
    [BLOB_LAYER] = {"layer_record",
                    "SELECT erofs_size_bytes, erofs_digest, NULL FROM layers WHERE diff_id = $1"},
    [BLOB_FSMETA] = {"fsmeta_record", "SELECT fsmeta_size_bytes, fsmeta_digest, NULL"
                                      "  FROM manifests WHERE digest = $1"},
    [BLOB_VMDK] = {"vmdk_record", "SELECT vmdk_size_bytes, vmdk_digest, NULL"
                                  "  FROM manifests WHERE digest = $1"},
    /* Of a few references at most: what is asked about is damaged. One that is condemned may be of
     * an image that went: the reaper sees to it. */
    [BLOB_MANIFEST] = {"description_record",
                       "SELECT NULL, NULL, string_agg(manifest_digest, ' ') FROM image_refs"
                       " WHERE description_digest(reference) = $1"
                       "   AND NOT EXISTS (SELECT FROM condemned_files"
                       "                    WHERE kind = 'manifest' AND digest = $1)"
                       " HAVING count(*) > 0"},
};

static bool read_record(struct catalogue_session *session, const struct blob_id *file,
                        struct arena *arena, struct blob_record *record, bool *found,
                        struct error *error)
{
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&file->key, digest);
    struct rows rows;
    if (!QUERY(session, &find_record[file->kind], arena, &rows, error, digest))
        return false;
    *record = (struct blob_record){.id = *file};
    *found = rows.count > 0;
    if (!*found)
        return true;
    record->manifest_digests = rows_text(&rows, 0, 2);
    if (file->kind == BLOB_MANIFEST)
        return true;
    record->size_bytes = rows_int(&rows, 0, 0);
    if (!digest_parse(rows_text(&rows, 0, 1), &record->digest))
        abort(); /* the column's type admits nothing else */
    return true;
}

bool damage_is_recorded(struct file_lock *lock, const struct blob_id *file, bool *recorded,
                        struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct blob_record record;
    return read_record(file_lock_session(lock), file, &arena, &record, recorded, error);
}

static bool put_aside(struct blobdir *blobdir, struct file_lock *lock, const struct blob_id *file,
                      struct arena *arena, struct damage *damage, struct error *error)
{
    char name[BLOB_PATH_SIZE];
    blob_name(file->kind, &file->key, name);
    return file_lock_check(lock, error) &&
           blob_quarantine(blobdir, file->kind, name, arena, &damage->quarantined, error);
}

bool damage_confirm(struct catalogue *catalogue, struct blobdir *blobdir,
                    const struct blob_id *file, struct blob_reading *reading, bool quarantine,
                    struct arena *arena, struct damage *damage, struct error *error)
{
    *damage = (struct damage){0};
    struct file_lock *tried = NULL;
    if (!file_lock_try(catalogue, file, &tried, error))
        return false;
    cleanup_file_lock struct file_lock *lock = tried;
    struct blob_record record;
    damage->busy = !lock;
    if (damage->busy)
        return true;
    if (!read_record(file_lock_session(lock), file, arena, &record, &damage->is_recorded, error))
        return false;
    if (!damage->is_recorded)
        return true;
    if (!blob_check(blobdir, &record, reading, arena, &damage->condition, &damage->detail, error))
        return false;
    bool is_bad = damage->condition == BLOB_IS_DAMAGED || damage->condition == BLOB_HAS_WRONG_SIZE;
    return !is_bad || !quarantine || put_aside(blobdir, lock, file, arena, damage, error);
}

static const struct statement find_image[BLOB_KIND_COUNT] = {
    [BLOB_LAYER] = {"layer_image", "SELECT r.reference, r.os, r.architecture, r.variant"
                                   "  FROM manifest_layers l"
                                   "  JOIN image_refs r ON r.manifest_digest = l.manifest_digest"
                                   " WHERE l.diff_id = $1 LIMIT 1"},
    [BLOB_FSMETA] = {"fsmeta_image", "SELECT reference, os, architecture, variant FROM image_refs"
                                     " WHERE manifest_digest = $1 LIMIT 1"},
    [BLOB_VMDK] = {"vmdk_image", "SELECT reference, os, architecture, variant FROM image_refs"
                                 " WHERE manifest_digest = $1 LIMIT 1"},
    [BLOB_MANIFEST] = {"description_image",
                       "SELECT reference, os, architecture, variant FROM image_refs"
                       " WHERE description_digest(reference) = $1 LIMIT 1"},
};

bool damage_find_image(struct catalogue *catalogue, const struct blob_id *file, struct arena *arena,
                       struct damaged_image *image, struct error *error)
{
    *image = (struct damaged_image){0};
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&file->key, digest);
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &find_image[file->kind], arena, &rows, error, digest))
        return false;
    if (rows.count > 0)
        *image = (struct damaged_image){rows_text(&rows, 0, 0), rows_text(&rows, 0, 1),
                                        rows_text(&rows, 0, 2), rows_text(&rows, 0, 3)};
    return true;
}

bool damage_queue_pull(struct catalogue *catalogue, const struct damaged_image *image,
                       struct arena *arena, const char **pull_id, struct error *error)
{
    struct reference reference;
    struct platform platform;
    struct pull pull;
    bool joined = false;
    if (!reference_parse(image->reference, &reference, error) ||
        !platform_from_fields(image->os, image->architecture, image->variant, &platform, error))
        return false;
    const struct pull_request request = {
        .reference = &reference, .platform = &platform, .policy = PULL_IF_MISSING};
    if (!catalogue_queue_pull(catalogue, &request, arena, &pull, &joined, error))
        return false;
    *pull_id = pull.id;
    return true;
}
