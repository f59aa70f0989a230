#include "store/reaper.h"

#include "store/catalogue/condemned.h"
#include "store/crash_point.h"
#include "store/described.h"
#include "store/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    /* A walk takes twice as many next time when a batch took less than LIGHT_US, and half as many
     * when it took more than HEAVY_US: where to unlink takes 4 ms, the first batch takes 1 s, which
     * is as long as a prune waits for a file to go, and the others take less. */
    LEAST_A_BATCH = 16,
    FIRST_BATCH = 256,
    MOST_A_BATCH = 2048,
    LIGHT_US = 100 * 1000,
    HEAVY_US = 400 * 1000,
    /* PostgreSQL gives the rows to others once it takes our connection for dead, which it
     * does not do so soon after it heard from us. */
    UNLINK_FOR_US = 5 * 1000 * 1000,
    /* Whoever was stopped for so long that it may have lost them looks before it unlinks again. To
     * look before each file takes a tenth of the time of an unlink. */
    LOOK_EVERY_US = 250,
};

/* Condemned files whose rows are ours until the transaction ends. */
struct batch {
    struct arena *arena;
    struct catalogue_session *session;
    struct blobdir *blobdir;
    int64_t locked_us; /* before the rows were locked */
    int64_t looked_us; /* when the connection was found open last */
    struct condemned_batch rows;
    /* what was done */
    size_t tried; /* of the rows, from the first on */
    size_t done;
    bool *is_touched; /* of each kind: its directory, which is synced in the end */
    struct reaped reaped;
    bool failed;
    struct error error; /* the first file that could not be unlinked */
};

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

/* Whether the rows are ours still, as far as this machine can know. */
static bool may_unlink(struct batch *batch)
{
    int64_t now_us = metric_now_us();
    if (now_us - batch->locked_us >= UNLINK_FOR_US || !session_transaction_holds(batch->session))
        return false;
    if (now_us - batch->looked_us < LOOK_EVERY_US)
        return true;
    if (!session_is_open(batch->session))
        return false;
    batch->looked_us = now_us;
    return true;
}

static void fail(struct batch *batch, const struct error *error)
{
    if (!batch->failed)
        batch->error = *error;
    batch->failed = true;
}

static void end_with(struct batch *batch, struct condemned_file *file, enum condemned_end end)
{
    file->end = end;
    batch->done++;
}

/* The description of a reference that lost a platform, or whose pull came to nothing. */
static void renew(struct batch *batch, struct condemned_file *file)
{
    struct error error;
    bool begun = session_begin_part(batch->session, &error);
    bool renewed =
        begun && described_renew(batch->session, batch->blobdir, file->reference, &error);
    if (begun)
        session_end_part(batch->session, !renewed);
    if (!renewed) {
        fail(batch, &error);
        return;
    }
    end_with(batch, file, CONDEMNED_RENEWED);
    CRASH_POINT(REAP_DESCRIBED);
}

static void unlink_one(struct batch *batch, struct condemned_file *file)
{
    const struct blob_id *id = &file->id;
    struct error error;
    if (!blob_unlink(batch->blobdir, id->kind, &id->key, &file->freed_bytes, &error)) {
        fail(batch, &error);
        return;
    }
    end_with(batch, file, CONDEMNED_GONE);
    batch->is_touched[id->kind] = true;
    count_reaped(id->kind, file->freed_bytes, &batch->reaped);
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

/* As long as its rows may be trusted to be ours. */
static void reap_ours(struct batch *batch)
{
    if (batch->rows.count > 0)
        CRASH_POINT(REAP_LOCKED);
    for (; batch->tried < batch->rows.count && may_unlink(batch); batch->tried++) {
        struct condemned_file *file = &batch->rows.files[batch->tried];
        if (file->is_busy)
            continue;
        if (file->is_described)
            renew(batch, file);
        else
            unlink_one(batch, file);
    }
}

/* A description that is back without its row would be of an image that the catalogue has lost: the
 * sweep stops at it, and fsck pulls it. So it is gone for good before its row is. */
static bool sync_descriptions(struct batch *batch, struct error *error)
{
    return batch->reaped.description_files == 0 || blob_sync(batch->blobdir, BLOB_MANIFEST, error);
}

/* What is to be locked: the given files, or some behind a place. */
struct choice {
    const struct blob_id *files; /* or NULL */
    size_t count;
    bool layers;
    const char *place;
};

static bool lock_rows(struct batch *batch, const struct choice *choice, struct error *error)
{
    batch->locked_us = metric_now_us();
    if (!session_begin_batch(batch->session, error))
        return false;
    return choice->files ? condemned_lock_given(batch->session, choice->files, choice->count,
                                                batch->arena, &batch->rows, error)
                         : condemned_lock_behind(batch->session, choice->layers, choice->place,
                                                 choice->count, batch->arena, &batch->rows, error);
}

/* Should PostgreSQL forget the commit, the rows are found again without their files: so nobody
 * waits for its disk. */
static bool run_batch(struct batch *batch, const struct choice *choice, struct error *error)
{
    if (!lock_rows(batch, choice, error))
        return false;
    reap_ours(batch);
    if (batch->done > 0 && (!sync_descriptions(batch, error) ||
                            !condemned_forget(batch->session, &batch->rows, batch->arena, error)))
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
    struct tally tally = {0};
    bool goes_on = true;
    for (size_t i = 0; i < file_count && goes_on; i += FIRST_BATCH) {
        cleanup_arena struct arena arena = {0};
        struct batch batch = {.arena = &arena, .blobdir = blobdir};
        size_t left = file_count - i;
        const struct choice choice = {
            .files = &files[i],
            .count = left < FIRST_BATCH ? left : FIRST_BATCH,
        };
        CRASH_POINT(REAP_BEGUN);
        goes_on = reap_batch(catalogue, &batch, &choice, &tally);
    }
    return finish(&tally, blobdir, reaped, error);
}

/* On its way through the condemned layers, or through all else; it takes what nobody has. */
struct walk {
    const struct reaper_pass *pass;
    bool layers;
    struct tally tally;
    size_t limit;   /* of the next batch */
    char place[32]; /* of the last row that it tried; "": none yet */
};

/* Behind what was tried: where that was not all, the rest is next. */
static void walk_on(struct walk *walk, const struct batch *batch)
{
    const struct condemned_file *last = &batch->rows.files[batch->tried - 1];
    const int64_t took_us = metric_now_us() - batch->locked_us; /* of all that others wait for */
    bool was_full = batch->rows.count == walk->limit;
    snprintf(walk->place, sizeof(walk->place), "%s", last->place);
    if (took_us < LIGHT_US && was_full && walk->limit < MOST_A_BATCH)
        walk->limit *= 2;
    else if (took_us > HEAVY_US && walk->limit > LEAST_A_BATCH)
        walk->limit /= 2;
}

/* False when there is no more, or it is time to stop. */
static bool step(struct walk *walk)
{
    const struct reaper_pass *pass = walk->pass;
    cleanup_arena struct arena arena = {0};
    struct batch batch = {.arena = &arena, .blobdir = pass->blobdir};
    const struct choice choice = {
        .count = walk->limit, .layers = walk->layers, .place = walk->place[0] ? walk->place : NULL};
    if ((pass->stop && atomic_load(pass->stop)) ||
        !reap_batch(pass->catalogue, &batch, &choice, &walk->tally) || batch.tried == 0 ||
        (batch.tried == batch.rows.count && !batch.rows.has_more))
        return false;
    walk_on(walk, &batch);
    return true;
}

static void *run_walk(void *walk)
{
    while (step(walk))
        continue;
    return NULL;
}

/* A directory lets go of one file at a time: layers have theirs, and are half of what goes. Where
 * there is much of both, they go at once, and PostgreSQL works for one walk while the other
 * unlinks. */
bool reaper_run_pass(const struct reaper_pass *pass, struct reaped *reaped, struct error *error)
{
    struct walk layers = {.pass = pass, .layers = true, .limit = FIRST_BATCH};
    struct walk others = {.pass = pass, .limit = FIRST_BATCH};
    pthread_t thread;
    bool more_layers = step(&layers);
    bool more_others = step(&others);
    bool at_once =
        more_layers && more_others && pthread_create(&thread, NULL, run_walk, &layers) == 0;
    if (more_others)
        run_walk(&others);
    if (at_once)
        pthread_join(thread, NULL);
    else if (more_layers)
        run_walk(&layers);
    tally_add(&layers.tally, &others.tally);
    return finish(&layers.tally, pass->blobdir, reaped, error);
}
