/* From the catalogue to the directory: is every file there, as it was recorded? */
#include "store/fsck/fsck_internal.h"

#include <stdlib.h>

static enum fsck_kind kind_of(enum blob_condition condition)
{
    return condition == BLOB_IS_MISSING       ? FSCK_MISSING
           : condition == BLOB_HAS_WRONG_SIZE ? FSCK_WRONG_SIZE
           : condition == BLOB_IS_UNREADABLE  ? FSCK_UNREADABLE
                                              : FSCK_DAMAGED;
}

static bool add_case(struct fsck *fsck, const struct blob_id *file, enum fsck_kind kind,
                     const char *detail, const char *quarantined, struct error *error)
{
    char path[BLOB_PATH_SIZE];
    struct damaged_image image;
    blob_path(file->kind, &file->key, path);
    struct fsck_problem *problem = fsck_add(fsck, kind, path, detail);
    problem->quarantined = arena_strdup(fsck->arena, quarantined);
    if (!damage_find_image(fsck->config->catalogue, file, fsck->arena, &image, error))
        return false;
    problem->reference = image.reference;
    fsck->config->tell(fsck->config->context, problem);
    struct fsck_case *added = arena_alloc(fsck->arena, sizeof(*added));
    *added = (struct fsck_case){.file = *file, .problem = problem, .next = fsck->cases};
    fsck->cases = added;
    return true;
}

/* It looked wrong. Under its lock it may be right, gone, or somebody's work. */
static bool confirm(struct fsck *fsck, const struct blob_id *file, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct blob_reading reading = {.bytes = fsck->config->verify};
    struct damage damage;
    if (!damage_confirm(fsck->config->catalogue, fsck->config->blobdir, file, &reading,
                        fsck->config->repair, &arena, &damage, error))
        return false;
    fsck->report->busy += damage.busy;
    if (damage.busy || !damage.is_recorded || damage.condition == BLOB_IS_WHOLE)
        return true;
    return add_case(fsck, file, kind_of(damage.condition), damage.detail, damage.quarantined,
                    error);
}

/* fsck.erofs complained. It may have lost the file, or a layer of it, to a removal while it read:
 * so it is asked again under the file's lock. What has its row after that has had it all the time,
 * for no pull brings it back without the lock; and so had its layers theirs. */
static bool confirm_complaint(struct fsck *fsck, const struct blob_id *file, struct error *error)
{
    struct file_lock *tried = NULL;
    const char *complaint = NULL;
    bool recorded = false;
    if (!file_lock_try(fsck->config->catalogue, file, &tried, error))
        return false;
    cleanup_file_lock struct file_lock *lock = tried;
    fsck->report->busy += !lock;
    if (!lock)
        return true;
    if (!fsck_judge(fsck, file, &complaint, error) ||
        !damage_is_recorded(lock, file, &recorded, error))
        return false;
    return !complaint || !recorded || add_case(fsck, file, FSCK_REJECTED, complaint, NULL, error);
}

static bool check_file(struct fsck *fsck, const struct blob_record *record, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct blob_reading reading = {.bytes = fsck->config->verify};
    enum blob_condition condition;
    const char *detail = NULL;
    if (!blob_check(fsck->config->blobdir, record, &reading, &arena, &condition, &detail, error))
        return false;
    fsck->report->files[record->id.kind]++;
    fsck->report->read_bytes += reading.read_bytes;
    if (condition != BLOB_IS_WHOLE)
        return confirm(fsck, &record->id, error);
    const char *complaint = NULL;
    bool has_judge = record->id.kind == BLOB_LAYER || record->id.kind == BLOB_FSMETA;
    if (!fsck->config->verify || !has_judge)
        return true;
    return fsck_judge(fsck, &record->id, &complaint, error) &&
           (!complaint || confirm_complaint(fsck, &record->id, error));
}

static struct digest must_parse(const char *text)
{
    struct digest digest;
    if (!digest_parse(text, &digest))
        abort(); /* the column's type admits nothing else */
    return digest;
}

/* --- page after page, by key --- */

static bool read_page(struct fsck *fsck, const struct statement *page, const char *after,
                      struct arena *arena, struct rows *rows, struct error *error)
{
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(fsck->config->catalogue, error);
    return session &&
           QUERY(session, page, arena, rows, error, after, parameter_int(arena, FSCK_BATCH));
}

typedef bool check_row(struct fsck *fsck, const struct rows *rows, size_t row, struct error *error);

static bool check_all(struct fsck *fsck, const struct statement *page, check_row *check,
                      struct error *error)
{
    char after[4096] = "";
    for (;;) {
        cleanup_arena struct arena arena = {0};
        struct rows rows;
        if (!read_page(fsck, page, after, &arena, &rows, error))
            return false;
        for (size_t row = 0; row < rows.count; row++)
            if (!check(fsck, &rows, row, error))
                return false;
        if (rows.count < FSCK_BATCH)
            return true;
        snprintf(after, sizeof(after), "%s", rows_text(&rows, rows.count - 1, 0));
    }
}

static bool check_layer(struct fsck *fsck, const struct rows *rows, size_t row, struct error *error)
{
    const struct blob_record record = {
        .id = {BLOB_LAYER, must_parse(rows_text(rows, row, 0))},
        .size_bytes = rows_int(rows, row, 1),
        .digest = must_parse(rows_text(rows, row, 2)),
    };
    return check_file(fsck, &record, error);
}

static bool check_manifest(struct fsck *fsck, const struct rows *rows, size_t row,
                           struct error *error)
{
    struct digest key = must_parse(rows_text(rows, row, 0));
    const struct blob_record fsmeta = {
        .id = {BLOB_FSMETA, key},
        .size_bytes = rows_int(rows, row, 1),
        .digest = must_parse(rows_text(rows, row, 2)),
    };
    const struct blob_record vmdk = {
        .id = {BLOB_VMDK, key},
        .size_bytes = rows_int(rows, row, 3),
        .digest = must_parse(rows_text(rows, row, 4)),
    };
    return check_file(fsck, &fsmeta, error) && check_file(fsck, &vmdk, error);
}

static bool check_description(struct fsck *fsck, const struct rows *rows, size_t row,
                              struct error *error)
{
    const struct blob_record record = {
        .id = {BLOB_MANIFEST, must_parse(rows_text(rows, row, 1))},
        .manifest_digests = rows_text(rows, row, 2),
    };
    return check_file(fsck, &record, error);
}

bool fsck_check_catalogue(struct fsck *fsck, struct error *error)
{
    static const struct statement layers = {
        "fsck_layers", "SELECT diff_id, erofs_size_bytes, erofs_digest FROM layers"
                       " WHERE diff_id > $1 ORDER BY diff_id LIMIT $2::bigint"};
    static const struct statement manifests = {
        "fsck_manifests", "SELECT digest, fsmeta_size_bytes, fsmeta_digest, vmdk_size_bytes,"
                          "       vmdk_digest FROM manifests"
                          " WHERE digest > $1 ORDER BY digest LIMIT $2::bigint"};
    static const struct statement descriptions = {
        "fsck_descriptions", "SELECT reference, description_digest(reference),"
                             "       string_agg(manifest_digest, ' ')"
                             "  FROM image_refs WHERE reference > $1"
                             " GROUP BY reference ORDER BY reference LIMIT $2::bigint"};
    return check_all(fsck, &layers, check_layer, error) &&
           check_all(fsck, &manifests, check_manifest, error) &&
           check_all(fsck, &descriptions, check_description, error);
}
