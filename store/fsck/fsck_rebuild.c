/* What is missing is pulled: by a node if one lives, else by ourselves. */
#include "store/fsck/fsck_internal.h"

#include "store/catalogue/pulls.h"
#include "store/catalogue/removal.h"
#include "store/reaper.h"

#include <string.h>
#include <time.h>

enum { POLL_MS = 200 };

struct rebuild {
    struct fsck *fsck;
    bool has_unreached; /* a case that no reference leads to */
};

static bool same(const struct damaged_image *one, const struct damaged_image *other)
{
    return strcmp(one->reference, other->reference) == 0 && strcmp(one->os, other->os) == 0 &&
           strcmp(one->architecture, other->architecture) == 0 &&
           strcmp(one->variant, other->variant) == 0;
}

struct queued {
    struct damaged_image image;
    const char *pull_id;
    struct queued *next;
};

/* One pull an image, however many of its files are missing. */
static bool queue_case(struct rebuild *rebuild, struct fsck_case *damaged, struct queued **queued,
                       struct error *error)
{
    struct fsck *fsck = rebuild->fsck;
    struct damaged_image image;
    if (!damage_find_image(fsck->config->catalogue, &damaged->file, fsck->arena, &image, error))
        return false;
    rebuild->has_unreached |= !image.reference;
    if (!image.reference)
        return true;
    struct queued *found = *queued;
    while (found && !same(&found->image, &image))
        found = found->next;
    if (!found) {
        found = arena_alloc(fsck->arena, sizeof(*found));
        *found = (struct queued){.image = image, .next = *queued};
        if (!damage_queue_pull(fsck->config->catalogue, &image, fsck->arena, &found->pull_id,
                               error))
            return false;
        *queued = found;
    }
    damaged->pull_id = found->pull_id;
    return true;
}

static bool is_any_node_alive(struct catalogue *catalogue, bool *alive, struct error *error)
{
    static const struct statement find = {
        "nodes_alive", "SELECT EXISTS (SELECT FROM nodes"
                       "                WHERE heartbeat_at > now() - interval '10 seconds')"};
    cleanup_arena struct arena arena = {0};
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    struct rows rows;
    if (!session || !session_query(session, &find, NULL, 0, &arena, &rows, error))
        return false;
    *alive = rows_bool(&rows, 0, 0);
    return true;
}

/* Nodes run pulls with their own credentials; only where there is none we do. */
static bool see_that_pulls_run(struct fsck *fsck, struct error *error)
{
    const struct fsck_config *config = fsck->config;
    bool alive = false;
    if (fsck->has_own_puller)
        return true;
    if (!is_any_node_alive(config->catalogue, &alive, error))
        return false;
    if (alive)
        return true;
    fsck->has_own_puller = true;
    return config->run_pulls(config->context, error);
}

bool fsck_wait_for_pull(struct fsck *fsck, const char *pull_id, struct pull *pull,
                        struct error *error)
{
    for (;;) {
        cleanup_arena struct arena arena = {0};
        if (!see_that_pulls_run(fsck, error) ||
            !catalogue_find_pull(fsck->config->catalogue, pull_id, &arena, pull, error))
            return false;
        if (pull_state_is_final(pull->state))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

static bool remove_unreached(struct fsck *fsck, struct error *error)
{
    /* No reference is empty: only what no reference reaches goes. */
    const struct prune_options only_unreached = {.reference_glob = ""};
    const struct reaper_pass pass = {.catalogue = fsck->config->catalogue,
                                     .blobdir = fsck->config->blobdir};
    struct removal removal;
    struct reaped reaped;
    return catalogue_prune(fsck->config->catalogue, &only_unreached, &removal, error) &&
           reaper_run_pass(&pass, &reaped, error);
}

/* Why nothing is pulled: of bytes that would be made the same again, or that may be in order. */
static const char *why_left(const struct fsck_case *damaged)
{
    if (damaged->problem->kind == FSCK_REJECTED)
        return "left: it is as it was made, and would be made again";
    return damaged->problem->kind == FSCK_UNREADABLE ? "left: it may be in order" : NULL;
}

/* How the case stands after all that. */
static bool close_case(struct rebuild *rebuild, struct fsck_case *damaged, struct error *error)
{
    struct fsck *fsck = rebuild->fsck;
    cleanup_arena struct arena arena = {0};
    struct pull pull = {0};
    struct damage damage;
    struct blob_reading reading = {.bytes = fsck->config->verify};
    if (damaged->pull_id && !fsck_wait_for_pull(fsck, damaged->pull_id, &pull, error))
        return false;
    if (!damage_confirm(fsck->config->catalogue, fsck->config->blobdir, &damaged->file, &reading,
                        false, &arena, &damage, error))
        return false;
    bool is_whole = !damage.busy && damage.is_recorded && damage.condition == BLOB_IS_WHOLE;
    if (!damage.busy && !damage.is_recorded)
        fsck_repaired(fsck, damaged->problem, "no longer needed: removed from the catalogue");
    else if (is_whole && damaged->problem->kind != FSCK_REJECTED)
        fsck_repaired(fsck, damaged->problem, damaged->pull_id ? "rebuilt" : "whole again");
    else if (damaged->pull_id && pull.state != PULL_DONE)
        damaged->problem->action =
            arena_printf(fsck->arena, "the pull did not end well: %s",
                         pull.has_error ? pull.error.message : pull_state_name(pull.state));
    else if (!damaged->pull_id)
        damaged->problem->action = why_left(damaged)
                                       ? why_left(damaged)
                                       : "no reference leads to it, so nothing can be pulled";
    return true;
}

bool fsck_rebuild(struct fsck *fsck, struct error *error)
{
    struct rebuild rebuild = {.fsck = fsck};
    struct queued *queued = NULL;
    for (struct fsck_case *damaged = fsck->cases; damaged; damaged = damaged->next)
        if (!why_left(damaged) && !queue_case(&rebuild, damaged, &queued, error))
            return false;
    if (rebuild.has_unreached && !remove_unreached(fsck, error))
        return false;
    for (struct fsck_case *damaged = fsck->cases; damaged; damaged = damaged->next)
        if (!close_case(&rebuild, damaged, error))
            return false;
    return true;
}
