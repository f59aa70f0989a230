#include "store/reaper.h"

#include "store/crash_point.h"
#include "store/file_lock.h"
#include "store/metrics.h"

#include <stdlib.h>

/* The file's fate, decided under its lock. */
struct reap {
    bool done; /* unlinked by us */
    int64_t freed_bytes;
};

static bool is_condemned(struct catalogue_session *session, const struct blob_id *file,
                         const char *digest, struct arena *arena, bool *condemned,
                         struct error *error)
{
    static const struct statement find = {
        "condemned_find", "SELECT FROM condemned_files WHERE kind = $1 AND digest = $2 FOR UPDATE"};
    struct rows rows;
    if (!QUERY(session, &find, arena, &rows, error, blob_kind_name(file->kind), digest))
        return false;
    *condemned = rows.count > 0;
    return true;
}

static bool forget(struct catalogue_session *session, const struct blob_id *file,
                   const char *digest, struct arena *arena, struct error *error)
{
    static const struct statement remove = {
        "condemned_forget", "DELETE FROM condemned_files WHERE kind = $1 AND digest = $2"};
    struct rows rows;
    return QUERY(session, &remove, arena, &rows, error, blob_kind_name(file->kind), digest);
}

/* Within a transaction: lock, look again, unlink, forget. The row is the licence: a
 * pull that rescued the file deleted it under the same lock. */
static bool reap_locked(struct catalogue_session *session, struct blobdir *blobdir,
                        const struct blob_id *file, struct reap *reap, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&file->key, digest);
    bool locked = false;
    bool condemned = false;
    if (!file_lock_try_in_transaction(session, file, &locked, error))
        return false;
    if (!locked)
        return true;
    if (!is_condemned(session, file, digest, &arena, &condemned, error))
        return false;
    if (!condemned)
        return true;
    CRASH_POINT(REAP_LOCKED);
    if (!blob_unlink(blobdir, file->kind, &file->key, &reap->freed_bytes, error))
        return false;
    CRASH_POINT(REAP_UNLINKED);
    if (!blob_sync(blobdir, file->kind, error) || !forget(session, file, digest, &arena, error))
        return false;
    CRASH_POINT(REAP_FORGOTTEN);
    reap->done = true;
    return true;
}

static bool reap_one(struct catalogue_session *session, struct blobdir *blobdir,
                     const struct blob_id *file, struct reap *reap, struct error *error)
{
    if (!session_begin(session, error))
        return false;
    if (!reap_locked(session, blobdir, file, reap, error)) {
        session_rollback(session);
        return false;
    }
    if (!session_commit(session, error))
        return false;
    CRASH_POINT(REAP_DONE);
    return true;
}

static void count_reaped(const struct blob_id *file, const struct reap *reap, struct reaped *reaped)
{
    metric_add(METRIC_REAPED_FILES, reap->done, file->kind);
    metric_add(METRIC_REAPED_BYTES, reap->freed_bytes);
    reaped->bytes += reap->freed_bytes;
    switch (file->kind) {
    case BLOB_LAYER:
        reaped->layer_files += reap->done;
        break;
    case BLOB_FSMETA:
        reaped->fsmeta_files += reap->done;
        break;
    case BLOB_VMDK:
        reaped->vmdk_files += reap->done;
        break;
    case BLOB_MANIFEST:
        break;
    }
}

bool reaper_reap(struct catalogue *catalogue, struct blobdir *blobdir, const struct blob_id *files,
                 size_t file_count, struct reaped *reaped, struct error *error)
{
    *reaped = (struct reaped){0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session)
        return false;
    if (file_count > 0)
        CRASH_POINT(REAP_BEGUN);
    bool done = true;
    for (size_t i = 0; i < file_count; i++) {
        struct reap reap = {0};
        struct error why;
        if (reap_one(session, blobdir, &files[i], &reap, &why)) {
            count_reaped(&files[i], &reap, reaped);
            continue;
        }
        done = false;
        *error = why;
        if (why.code == ERROR_CATALOGUE_UNAVAILABLE)
            break;
    }
    return done;
}

static bool list_condemned(struct catalogue *catalogue, size_t limit, struct arena *arena,
                           struct rows *rows, struct error *error)
{
    static const struct statement list = {
        "condemned_list",
        "SELECT kind, digest FROM condemned_files ORDER BY condemned_at LIMIT $1::bigint"};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    return session &&
           QUERY(session, &list, arena, rows, error, parameter_int(arena, (int64_t)limit));
}

bool reaper_round(struct catalogue *catalogue, struct blobdir *blobdir, size_t limit,
                  struct reaped *reaped, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!list_condemned(catalogue, limit, &arena, &rows, error))
        return false;
    struct blob_id *files = arena_alloc_array(&arena, rows.count, sizeof(*files));
    for (size_t row = 0; row < rows.count; row++)
        if (!blob_kind_parse(rows_text(&rows, row, 0), &files[row].kind) ||
            !digest_parse(rows_text(&rows, row, 1), &files[row].key))
            abort(); /* the table's checks admit nothing else */
    return reaper_reap(catalogue, blobdir, files, rows.count, reaped, error);
}
