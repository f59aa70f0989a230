#include "store/sweep.h"

#include "store/catalogue/chore.h"
#include "store/crash_point.h"
#include "store/file_lock.h"
#include "store/unknown_files.h"

#include <stdlib.h>
#include <time.h>

enum {
    BATCH_EVERY_MS = 200, /* 5,000 files a second: a round of a large cache takes minutes */
    ORPHAN_EVERY_MS = 5,  /* each costs a transaction */
    STOP_POLL_MS = 50,
};

struct sweep {
    const struct sweep_config *config;
    struct swept *swept;
    int64_t before_ms; /* what changed later is left alone */
};

static bool is_stopped(const struct sweep *sweep)
{
    return atomic_load(sweep->config->stop);
}

static void rest(const struct sweep *sweep, long ms)
{
    for (; ms > 0 && !is_stopped(sweep); ms -= STOP_POLL_MS) {
        long step = ms < STOP_POLL_MS ? ms : STOP_POLL_MS;
        nanosleep(&(struct timespec){.tv_nsec = step * 1000000}, NULL);
    }
}

/* --- condemning one --- */

/* Within a transaction that has the file's lock: whoever had it before has committed, so
 * what this statement does not see is not there. */
static bool condemn_locked(struct catalogue_session *session, const struct blob_id *file,
                           bool *condemned, struct error *error)
{
    static const struct statement condemn = {
        "orphan_condemn",
        "INSERT INTO condemned_files (kind, digest)"
        " SELECT $1::text, $2::text"
        "  WHERE NOT EXISTS (SELECT FROM layers WHERE $1::text = 'layer' AND diff_id = $2::text)"
        "    AND NOT EXISTS (SELECT FROM manifests WHERE $1::text <> 'layer' AND digest = $2::text)"
        " ON CONFLICT (kind, digest) DO NOTHING"};
    char text[DIGEST_TEXT_SIZE];
    digest_format(&file->key, text);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    CRASH_POINT(SWEEP_LOCKED);
    if (!QUERY(session, &condemn, &arena, &rows, error, blob_kind_name(file->kind), text))
        return false;
    *condemned = rows.affected > 0;
    CRASH_POINT(SWEEP_CONDEMNED);
    return true;
}

static bool condemn_orphan(struct sweep *sweep, const struct blob_id *file, struct error *error)
{
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(sweep->config->catalogue, error);
    bool locked = false;
    bool condemned = false;
    if (!session || !session_begin(session, error) ||
        !file_lock_try_in_transaction(session, file, &locked, error) ||
        (locked && !condemn_locked(session, file, &condemned, error)) ||
        !session_commit(session, error))
        return false;
    CRASH_POINT(SWEEP_DONE);
    sweep->swept->busy += !locked;
    sweep->swept->condemned += condemned;
    return true;
}

/* --- the round --- */

static bool sweep_foreign(void *context, enum blob_kind kind, const char *name, struct error *error)
{
    struct sweep *sweep = context;
    struct blob_state state;
    if (!blob_look(sweep->config->blobdir, kind, name, &state, error))
        return false;
    sweep->swept->foreign += state.exists && state.changed_at_ms < sweep->before_ms;
    return true;
}

static bool sweep_unknown(void *context, const struct blob_id *file, struct error *error)
{
    struct sweep *sweep = context;
    struct blob_state state;
    if (is_stopped(sweep))
        return true;
    if (!blob_look_up(sweep->config->blobdir, file->kind, &file->key, &state, error))
        return false;
    /* Of whatever age: its layers may be older than the grace period. (One that a pull is about
     * to commit is condemned, and so known.) */
    if (file->kind == BLOB_MANIFEST)
        sweep->swept->unknown_images += state.exists;
    if (file->kind == BLOB_MANIFEST || sweep->swept->unknown_images > 0)
        return true;
    if (!state.exists || state.changed_at_ms >= sweep->before_ms)
        return true;
    rest(sweep, ORPHAN_EVERY_MS);
    return condemn_orphan(sweep, file, error);
}

static bool go_on(void *context, size_t files, bool is_last)
{
    struct sweep *sweep = context;
    sweep->swept->files += (int64_t)files;
    if (!is_last)
        rest(sweep, BATCH_EVERY_MS);
    return !is_stopped(sweep);
}

static bool sweep_kind(struct sweep *sweep, enum blob_kind kind, struct error *error)
{
    const struct unknown_walk walk = {.catalogue = sweep->config->catalogue,
                                      .blobdir = sweep->config->blobdir,
                                      .context = sweep,
                                      .unknown = sweep_unknown,
                                      .foreign = sweep_foreign,
                                      .go_on = go_on};
    return is_stopped(sweep) || unknown_files_walk(&walk, kind, error);
}

static bool sweep_drafts(struct sweep *sweep, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct blob_strays strays;
    if (!blobdir_find_strays(sweep->config->blobdir, sweep->before_ms, true, &arena, &strays,
                             error))
        return false;
    sweep->swept->drafts = (int64_t)strays.count;
    return true;
}

bool sweep_if_due(const struct sweep_config *config, struct swept *swept, struct error *error)
{
    *swept = (struct swept){0};
    struct chore *begun = NULL;
    if (!chore_begin(config->catalogue, "sweep", config->every_seconds, &begun, error))
        return false;
    cleanup_chore struct chore *chore = begun;
    if (!chore)
        return true;
    swept->ran = true;
    CRASH_POINT(SWEEP_BEGUN);
    struct sweep sweep = {.config = config, .swept = swept};
    if (!blobdir_now_ms(config->blobdir, &sweep.before_ms, error))
        return false;
    sweep.before_ms -= config->grace_seconds * 1000;
    /* Descriptions first: they say whether the rest may be judged at all. */
    return sweep_kind(&sweep, BLOB_MANIFEST, error) && sweep_kind(&sweep, BLOB_FSMETA, error) &&
           sweep_kind(&sweep, BLOB_VMDK, error) && sweep_kind(&sweep, BLOB_LAYER, error) &&
           sweep_drafts(&sweep, error);
}
