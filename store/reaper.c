#include "store/reaper.h"

#include "store/crash_point.h"
#include "store/described.h"
#include "store/metrics.h"
#include "store/turn.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    /* At 70 us a file, 18 ms, and as long again behind the other walk; where it takes 4 ms, 1 s,
     * which is as long as a prune waits for a file to go. Each file has an advisory lock, of which
     * PostgreSQL has room for 64 a connection that it allows, 6400 by default. */
    FILES_A_BATCH = 256,
    /* PostgreSQL gives the locks to others once it takes our connection for dead, which it
     * does not do so soon after it heard from us. */
    UNLINK_FOR_US = 5 * 1000 * 1000,
};

/* Condemned files whose rows, and whose locks where they were free, are ours until the
 * transaction ends. */
struct batch {
    struct arena *arena;
    struct catalogue_session *session;
    struct blobdir *blobdir;
    struct turn *turn;  /* to unlink: one walk does at a time */
    int64_t locked_us;  /* before the locks were taken */
    struct rows rows;   /* kind, digest, locked, reference */
    bool *is_described; /* of each row: of a reference that is in the catalogue */
    /* what was done */
    const char **kinds;
    const char **digests;
    const char **bytes; /* what each freed; NULL: it stays, and is in order */
    size_t done;
    bool had_no_turn; /* the other one hangs */
    bool *is_touched; /* of each kind: its directory, which is synced in the end */
    struct reaped reaped;
    bool failed;
    struct error error; /* the first file that could not be unlinked */
};

/* A file whose lock is busy keeps its row locked until the batch ends, which a rescue of it
 * waits for. */
#define TRY_LOCKS                                                                                  \
    " SELECT kind, digest,"                                                                        \
    "        pg_try_advisory_xact_lock(file_lock_class(kind), file_lock_key(digest)), reference"   \
    "   FROM next"

static bool lock_after(struct batch *batch, const char *kind, const char *digest,
                       struct error *error)
{
    static const struct statement lock = {"condemned_lock_after",
                                          "WITH next AS MATERIALIZED ("
                                          "    SELECT kind, digest, reference FROM condemned_files"
                                          "     WHERE (kind, digest) > ($1, $2)"
                                          "     ORDER BY kind, digest LIMIT $3::bigint"
                                          "       FOR UPDATE SKIP LOCKED)" TRY_LOCKS};
    return QUERY(batch->session, &lock, batch->arena, &batch->rows, error, kind, digest,
                 parameter_int(batch->arena, FILES_A_BATCH));
}

static bool lock_given(struct batch *batch, const struct blob_id *files, size_t count,
                       struct error *error)
{
    static const struct statement lock = {
        "condemned_lock_given", "WITH next AS MATERIALIZED ("
                                "    SELECT c.kind, c.digest, c.reference"
                                "      FROM condemned_files c"
                                "      JOIN unnest($1::text[], $2::text[]) AS v (kind, digest)"
                                "        ON c.kind = v.kind AND c.digest = v.digest"
                                "       FOR UPDATE OF c SKIP LOCKED)" TRY_LOCKS};
    struct arena *arena = batch->arena;
    const char **kinds = arena_alloc_array(arena, count, sizeof(*kinds));
    const char **digests = arena_alloc_array(arena, count, sizeof(*digests));
    for (size_t i = 0; i < count; i++) {
        char *text = arena_alloc(arena, DIGEST_TEXT_SIZE);
        digest_format(&files[i].key, text);
        kinds[i] = blob_kind_name(files[i].kind);
        digests[i] = text;
    }
    return QUERY(batch->session, &lock, arena, &batch->rows, error,
                 parameter_text_array(arena, kinds, count),
                 parameter_text_array(arena, digests, count));
}

/* Asked once the locks are ours: a pull commits its reference under them. */
static bool find_described(struct batch *batch, struct error *error)
{
    static const struct statement find = {
        "condemned_described",
        "SELECT v.row FROM unnest($1::text[]) WITH ORDINALITY AS v (reference, row)"
        " WHERE EXISTS (SELECT FROM image_refs r WHERE r.reference = v.reference)"};
    size_t count = batch->rows.count;
    const char **references = arena_alloc_array(batch->arena, count, sizeof(*references));
    bool has_any = false;
    batch->is_described = arena_alloc_array(batch->arena, count, sizeof(bool));
    for (size_t row = 0; row < count; row++) {
        if (rows_bool(&batch->rows, row, 2))
            references[row] = rows_text(&batch->rows, row, 3);
        has_any |= references[row] != NULL;
    }
    struct rows found = {0};
    if (has_any && !QUERY(batch->session, &find, batch->arena, &found, error,
                          parameter_text_array(batch->arena, references, count)))
        return false;
    for (size_t i = 0; i < found.count; i++)
        batch->is_described[rows_int(&found, i, 0) - 1] = true;
    return true;
}

static struct blob_id file_of_row(const struct rows *rows, size_t row)
{
    struct blob_id file;
    if (!blob_kind_parse(rows_text(rows, row, 0), &file.kind) ||
        !digest_parse(rows_text(rows, row, 1), &file.key))
        abort(); /* the table's checks admit nothing else */
    return file;
}

static void count_reaped(enum blob_kind kind, int64_t freed_bytes, struct reaped *reaped)
{
    metric_add(METRIC_REAPED_FILES, 1, kind);
    metric_add(METRIC_REAPED_BYTES, freed_bytes);
    reaped->bytes += freed_bytes;
    switch (kind) {
    case BLOB_LAYER:
        reaped->layer_files++;
        break;
    case BLOB_FSMETA:
        reaped->fsmeta_files++;
        break;
    case BLOB_VMDK:
        reaped->vmdk_files++;
        break;
    case BLOB_MANIFEST:
        reaped->description_files++;
        break;
    }
}

static void add_reaped(struct reaped *sum, const struct reaped *more)
{
    sum->layer_files += more->layer_files;
    sum->fsmeta_files += more->fsmeta_files;
    sum->vmdk_files += more->vmdk_files;
    sum->description_files += more->description_files;
    sum->bytes += more->bytes;
}

/* Whether the locks are ours still, as far as this machine can know. */
static bool may_unlink(struct batch *batch)
{
    return session_is_open(batch->session) && metric_now_us() - batch->locked_us < UNLINK_FOR_US;
}

static void fail(struct batch *batch, const struct error *error)
{
    if (!batch->failed)
        batch->error = *error;
    batch->failed = true;
}

static void note_done(struct batch *batch, size_t row, const char *bytes)
{
    batch->kinds[batch->done] = rows_text(&batch->rows, row, 0);
    batch->digests[batch->done] = rows_text(&batch->rows, row, 1);
    batch->bytes[batch->done] = bytes;
    batch->done++;
}

/* The description of a reference that lost a platform, or whose pull came to nothing. */
static void renew_row(struct batch *batch, size_t row)
{
    struct error error;
    if (!described_renew(batch->session, batch->blobdir, rows_text(&batch->rows, row, 3), &error)) {
        fail(batch, &error);
        return;
    }
    note_done(batch, row, NULL);
    CRASH_POINT(REAP_DESCRIBED);
}

static void unlink_row(struct batch *batch, size_t row)
{
    struct blob_id file = file_of_row(&batch->rows, row);
    struct error error;
    int64_t freed_bytes = 0;
    if (!blob_unlink(batch->blobdir, file.kind, &file.key, &freed_bytes, &error)) {
        fail(batch, &error);
        return;
    }
    note_done(batch, row, parameter_int(batch->arena, freed_bytes));
    batch->is_touched[file.kind] = true;
    count_reaped(file.kind, freed_bytes, &batch->reaped);
    CRASH_POINT(REAP_UNLINKED);
}

/* Once for all batches: each would have the file system write its journal, which takes as
 * long as to unlink them. Should the power fail before, files may be back without their rows:
 * the sweep takes them, all but descriptions (sync_descriptions()). */
static bool sync_directories(struct blobdir *blobdir, const bool *is_touched, struct error *error)
{
    for (int kind = 0; kind < BLOB_KIND_COUNT; kind++)
        if (is_touched[kind] && !blob_sync(blobdir, (enum blob_kind)kind, error))
            return false;
    return true;
}

/* With each row that is ours, as long as its lock may be trusted. */
static void for_locked(struct batch *batch, bool described,
                       void (*act)(struct batch *batch, size_t row))
{
    for (size_t row = 0; row < batch->rows.count && may_unlink(batch); row++)
        if (rows_bool(&batch->rows, row, 2) && batch->is_described[row] == described)
            act(batch, row);
}

/* To renew takes statements, for which nobody's turn is to wait. */
static void unlink_locked(struct batch *batch)
{
    size_t count = batch->rows.count;
    batch->kinds = arena_alloc_array(batch->arena, count, sizeof(*batch->kinds));
    batch->digests = arena_alloc_array(batch->arena, count, sizeof(*batch->digests));
    batch->bytes = arena_alloc_array(batch->arena, count, sizeof(*batch->bytes));
    if (count > 0)
        CRASH_POINT(REAP_LOCKED);
    for_locked(batch, true, renew_row);
    /* Where the other one's directory hangs, ours are not kept from others too. */
    batch->had_no_turn = !turn_take(batch->turn, batch->locked_us + UNLINK_FOR_US);
    if (batch->had_no_turn)
        return;
    for_locked(batch, false, unlink_row);
    turn_give_back(batch->turn);
}

/* Deletes the rows, and adds to the figures of the prunes that condemned them. */
static bool forget(struct batch *batch, struct error *error)
{
    static const struct statement remove = {
        "condemned_forget",
        "WITH gone AS ("
        "    DELETE FROM condemned_files c"
        "     USING unnest($1::text[], $2::text[], $3::text[]) AS d (kind, digest, bytes)"
        "     WHERE c.kind = d.kind AND c.digest = d.digest"
        "    RETURNING c.removal_id, c.kind, d.bytes::bigint AS bytes)"
        " INSERT INTO reaped_files (removal_id, layers, fsmeta, vmdk, descriptions, bytes)"
        " SELECT removal_id, count(*) FILTER (WHERE kind = 'layer'),"
        "        count(*) FILTER (WHERE kind = 'fsmeta'), count(*) FILTER (WHERE kind = 'vmdk'),"
        "        count(*) FILTER (WHERE kind = 'manifest'), sum(bytes)"
        "   FROM gone WHERE removal_id IS NOT NULL AND bytes IS NOT NULL GROUP BY removal_id"};
    struct arena *arena = batch->arena;
    struct rows rows;
    return QUERY(batch->session, &remove, arena, &rows, error,
                 parameter_text_array(arena, batch->kinds, batch->done),
                 parameter_text_array(arena, batch->digests, batch->done),
                 parameter_text_array(arena, batch->bytes, batch->done));
}

/* A description that is back without its row would be of an image that the catalogue has lost: the
 * sweep stops at it, and fsck pulls it. So it is gone for good before its row is. */
static bool sync_descriptions(struct batch *batch, struct error *error)
{
    return batch->reaped.description_files == 0 || blob_sync(batch->blobdir, BLOB_MANIFEST, error);
}

/* What is to be locked: the given files, or those behind a key. */
struct choice {
    const struct blob_id *files;
    size_t file_count;
    const char *after_kind;
    const char *after_digest;
};

/* Should PostgreSQL forget the commit, the rows are found again without their files: so nobody
 * waits for its disk. */
static bool run_batch(struct batch *batch, const struct choice *choice, struct error *error)
{
    batch->locked_us = metric_now_us();
    if (!session_begin_batch(batch->session, error) ||
        !(choice->files ? lock_given(batch, choice->files, choice->file_count, error)
                        : lock_after(batch, choice->after_kind, choice->after_digest, error)) ||
        !find_described(batch, error))
        return false;
    unlink_locked(batch);
    if (batch->done > 0 && (!sync_descriptions(batch, error) || !forget(batch, error)))
        return false;
    if (batch->done > 0)
        CRASH_POINT(REAP_FORGOTTEN);
    if (!session_commit(batch->session, error))
        return false;
    if (batch->done > 0)
        CRASH_POINT(REAP_DONE);
    return true;
}

/* What several batches did. */
struct tally {
    struct reaped reaped;
    bool is_touched[BLOB_KIND_COUNT];
    bool failed;
    struct error error; /* the first */
};

static void tally_failure(struct tally *tally, const struct error *error)
{
    if (!tally->failed)
        tally->error = *error;
    tally->failed = true;
}

static void tally_add(struct tally *sum, const struct tally *more)
{
    add_reaped(&sum->reaped, &more->reaped);
    for (int kind = 0; kind < BLOB_KIND_COUNT; kind++)
        sum->is_touched[kind] |= more->is_touched[kind];
    if (more->failed)
        tally_failure(sum, &more->error);
}

/* The end of all batches; gives what they did, or why some of it failed. */
static bool finish(const struct tally *tally, struct blobdir *blobdir, struct reaped *reaped,
                   struct error *error)
{
    *reaped = tally->reaped;
    bool synced = sync_directories(blobdir, tally->is_touched, error);
    if (tally->failed)
        *error = tally->error;
    return synced && !tally->failed;
}

/* Runs one batch, whose rows are left in it. False when it came to nothing. */
static bool reap_batch(struct catalogue *catalogue, struct batch *batch,
                       const struct choice *choice, struct tally *tally)
{
    struct error error;
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, &error);
    batch->session = session;
    batch->is_touched = tally->is_touched;
    bool done = session && run_batch(batch, choice, &error);
    if (!done)
        tally_failure(tally, &error);
    else if (batch->failed)
        tally_failure(tally, &batch->error);
    if (done)
        add_reaped(&tally->reaped, &batch->reaped);
    return done;
}

bool reaper_reap(struct catalogue *catalogue, struct blobdir *blobdir, const struct blob_id *files,
                 size_t file_count, struct reaped *reaped, struct error *error)
{
    struct turn turn; /* of nobody else */
    struct tally tally = {0};
    turn_init(&turn);
    bool goes_on = true;
    for (size_t i = 0; i < file_count && goes_on; i += FILES_A_BATCH) {
        cleanup_arena struct arena arena = {0};
        struct batch batch = {.arena = &arena, .blobdir = blobdir, .turn = &turn};
        size_t left = file_count - i;
        const struct choice choice = {
            .files = &files[i],
            .file_count = left < FILES_A_BATCH ? left : FILES_A_BATCH,
        };
        CRASH_POINT(REAP_BEGUN);
        goes_on = reap_batch(catalogue, &batch, &choice, &tally);
    }
    turn_destroy(&turn);
    return finish(&tally, blobdir, reaped, error);
}

/* On its way through all that is condemned, beside another one: each takes what nobody has. */
struct walk {
    const struct reaper_pass *pass;
    struct turn *turn;
    struct tally tally;
    char kind[16]; /* of the last row it had */
    char digest[DIGEST_TEXT_SIZE];
};

/* False when there is no more, or it is time to stop. */
static bool step(struct walk *walk)
{
    const struct reaper_pass *pass = walk->pass;
    cleanup_arena struct arena arena = {0};
    struct batch batch = {.arena = &arena, .blobdir = pass->blobdir, .turn = walk->turn};
    const struct choice choice = {.after_kind = walk->kind, .after_digest = walk->digest};
    if ((pass->stop && atomic_load(pass->stop)) ||
        !reap_batch(pass->catalogue, &batch, &choice, &walk->tally))
        return false;
    size_t found = batch.rows.count;
    if (found < FILES_A_BATCH || batch.had_no_turn)
        return false;
    snprintf(walk->kind, sizeof(walk->kind), "%s", rows_text(&batch.rows, found - 1, 0));
    snprintf(walk->digest, sizeof(walk->digest), "%s", rows_text(&batch.rows, found - 1, 1));
    return true;
}

static void *run_walk(void *walk)
{
    while (step(walk))
        continue;
    return NULL;
}

/* Where there is much, two walks: PostgreSQL works for one while the other unlinks. They unlink in
 * turn: two at once would leave the reads less of the machine. */
bool reaper_run_pass(const struct reaper_pass *pass, struct reaped *reaped, struct error *error)
{
    struct turn turn;
    struct walk first = {.pass = pass, .turn = &turn};
    struct walk second = {.pass = pass, .turn = &turn};
    pthread_t thread;
    turn_init(&turn);
    if (step(&first)) {
        bool has_second = pthread_create(&thread, NULL, run_walk, &second) == 0;
        run_walk(&first);
        if (has_second)
            pthread_join(thread, NULL);
    }
    turn_destroy(&turn);
    tally_add(&first.tally, &second.tally);
    return finish(&first.tally, pass->blobdir, reaped, error);
}
