#include "store/sweep.h"

#include "store/blob_list.h"
#include "store/catalogue/chore.h"
#include "store/crash_point.h"
#include "store/file_lock.h"

#include <stdlib.h>
#include <time.h>

enum {
    FILES_A_BATCH = 1000,
    BATCH_EVERY_MS = 200, /* so 5,000 files a second: a round of a large cache takes minutes */
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

/* --- which files have no row --- */

/* Linear in what they read, whatever the planner makes of them: descriptions are known by
 * the hash of a reference, which has no index. */
static const struct statement find_unknown[BLOB_KIND_COUNT] = {
    [BLOB_LAYER] = {"unknown_layers", "SELECT k FROM unnest($1::text[]) k"
                                      " WHERE NOT EXISTS (SELECT FROM layers WHERE diff_id = k)"
                                      "   AND NOT EXISTS (SELECT FROM condemned_files"
                                      "                    WHERE kind = 'layer' AND digest = k)"},
    [BLOB_FSMETA] = {"unknown_fsmeta", "SELECT k FROM unnest($1::text[]) k"
                                       " WHERE NOT EXISTS (SELECT FROM manifests WHERE digest = k)"
                                       "   AND NOT EXISTS (SELECT FROM condemned_files"
                                       "                    WHERE kind = 'fsmeta' AND digest = k)"},
    [BLOB_VMDK] = {"unknown_vmdk", "SELECT k FROM unnest($1::text[]) k"
                                   " WHERE NOT EXISTS (SELECT FROM manifests WHERE digest = k)"
                                   "   AND NOT EXISTS (SELECT FROM condemned_files"
                                   "                    WHERE kind = 'vmdk' AND digest = k)"},
    [BLOB_MANIFEST] = {"unknown_descriptions",
                       "SELECT k FROM unnest($1::text[]) k"
                       " EXCEPT SELECT 'sha256:' ||"
                       "    encode(sha256(convert_to(reference, 'UTF8')), 'hex') FROM image_refs"
                       " EXCEPT SELECT digest FROM condemned_files WHERE kind = 'manifest'"},
};

bool sweep_find_unknown(struct catalogue *catalogue, enum blob_kind kind, const struct digest *keys,
                        size_t count, struct arena *arena, struct unknown_files *unknown,
                        struct error *error)
{
    const char **texts = arena_alloc_array(arena, count, sizeof(*texts));
    for (size_t i = 0; i < count; i++) {
        char *text = arena_alloc(arena, DIGEST_TEXT_SIZE);
        digest_format(&keys[i], text);
        texts[i] = text;
    }
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !QUERY(session, &find_unknown[kind], arena, &rows, error,
                           parameter_text_array(arena, texts, count)))
        return false;
    unknown->count = rows.count;
    unknown->keys = arena_alloc_array(arena, rows.count, sizeof(*unknown->keys));
    for (size_t row = 0; row < rows.count; row++)
        if (!digest_parse(rows_text(&rows, row, 0), &unknown->keys[row]))
            abort(); /* it is one of those we asked about */
    return true;
}

/* --- condemning one --- */

/* Within a transaction that has the file's lock: whoever had it before has committed, so
 * what this statement does not see is not there. */
static bool condemn_locked(struct catalogue_session *session, enum blob_kind kind,
                           const struct digest *key, bool *condemned, struct error *error)
{
    static const struct statement condemn = {
        "orphan_condemn",
        "INSERT INTO condemned_files (kind, digest)"
        " SELECT $1::text, $2::text"
        "  WHERE NOT EXISTS (SELECT FROM layers WHERE $1::text = 'layer' AND diff_id = $2::text)"
        "    AND NOT EXISTS (SELECT FROM manifests WHERE $1::text <> 'layer' AND digest = $2::text)"
        " ON CONFLICT (kind, digest) DO NOTHING"};
    char text[DIGEST_TEXT_SIZE];
    digest_format(key, text);
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    CRASH_POINT(SWEEP_LOCKED);
    if (!QUERY(session, &condemn, &arena, &rows, error, blob_kind_name(kind), text))
        return false;
    *condemned = rows.affected > 0;
    CRASH_POINT(SWEEP_CONDEMNED);
    return true;
}

static bool condemn_orphan(struct sweep *sweep, enum blob_kind kind, const struct digest *key,
                           struct error *error)
{
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(sweep->config->catalogue, error);
    const struct blob_id file = {kind, *key};
    bool locked = false;
    bool condemned = false;
    if (!session || !session_begin(session, error) ||
        !file_lock_try_in_transaction(session, &file, &locked, error) ||
        (locked && !condemn_locked(session, kind, key, &condemned, error)) ||
        !session_commit(session, error))
        return false;
    CRASH_POINT(SWEEP_DONE);
    sweep->swept->busy += !locked;
    sweep->swept->condemned += condemned;
    return true;
}

/* --- the round --- */

static bool is_old(const struct sweep *sweep, enum blob_kind kind, const char *name, bool *old,
                   struct error *error)
{
    struct blob_state state;
    if (!blob_look(sweep->config->blobdir, kind, name, &state, error))
        return false;
    *old = state.exists && state.changed_at_ms < sweep->before_ms;
    return true;
}

static bool sweep_unknown(struct sweep *sweep, enum blob_kind kind, const struct digest *key,
                          struct error *error)
{
    struct blob_state state;
    if (!blob_look_up(sweep->config->blobdir, kind, key, &state, error))
        return false;
    /* Of whatever age: its layers may be older than the grace period. (One that a pull is about
     * to commit is condemned, and so known.) */
    if (kind == BLOB_MANIFEST)
        sweep->swept->unknown_images += state.exists;
    if (kind == BLOB_MANIFEST || sweep->swept->unknown_images > 0)
        return true;
    if (!state.exists || state.changed_at_ms >= sweep->before_ms)
        return true;
    rest(sweep, ORPHAN_EVERY_MS);
    return condemn_orphan(sweep, kind, key, error);
}

static bool sweep_batch(struct sweep *sweep, enum blob_kind kind, const struct blob_entry *entries,
                        size_t count, struct arena *arena, struct error *error)
{
    struct digest *keys = arena_alloc_array(arena, count, sizeof(*keys));
    size_t key_count = 0;
    for (size_t i = 0; i < count; i++) {
        bool old = false;
        if (entries[i].is_blob)
            keys[key_count++] = entries[i].key;
        else if (!is_old(sweep, kind, entries[i].name, &old, error))
            return false;
        sweep->swept->foreign += old;
    }
    struct unknown_files unknown;
    if (!sweep_find_unknown(sweep->config->catalogue, kind, keys, key_count, arena, &unknown,
                            error))
        return false;
    for (size_t i = 0; i < unknown.count && !is_stopped(sweep); i++)
        if (!sweep_unknown(sweep, kind, &unknown.keys[i], error))
            return false;
    sweep->swept->files += (int64_t)count;
    return true;
}

static bool sweep_kind(struct sweep *sweep, enum blob_kind kind, struct error *error)
{
    cleanup_blob_list struct blob_list *list = blob_list_open(sweep->config->blobdir, kind, error);
    if (!list)
        return false;
    for (;;) {
        cleanup_arena struct arena arena = {0};
        struct blob_entry *entries = NULL;
        size_t count = 0;
        if (!blob_list_next(list, FILES_A_BATCH, &arena, &entries, &count, error))
            return false;
        if (count == 0 || is_stopped(sweep))
            return true;
        if (!sweep_batch(sweep, kind, entries, count, &arena, error))
            return false;
        if (count == FILES_A_BATCH)
            rest(sweep, BATCH_EVERY_MS);
    }
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
