/* From the directory to the catalogue: is every file known? */
#include "store/fsck/fsck_internal.h"

#include "store/catalogue/pulls.h"
#include "store/file_lock.h"
#include "store/unknown_files.h"

#include <stdlib.h>
#include <string.h>

/* "layers/<name>" of a name that no blob has. */
static const char *path_of(struct arena *arena, enum blob_kind kind, const char *name)
{
    static const struct digest nothing;
    char path[BLOB_PATH_SIZE];
    blob_path(kind, &nothing, path);
    return arena_printf(arena, "%.*s/%s", (int)strcspn(path, "/"), path, name);
}

/* Tells the problem, and moves the file away if it is to be repaired. The caller holds the
 * file's lock, if it has one. */
static bool put_aside(struct fsck *fsck, enum blob_kind kind, const char *name,
                      struct fsck_problem *problem, struct error *error)
{
    fsck->config->tell(fsck->config->context, problem);
    if (!fsck->config->repair)
        return true;
    if (!blob_quarantine(fsck->config->blobdir, kind, name, fsck->arena, &problem->quarantined,
                         error))
        return false;
    fsck_repaired(fsck, problem, problem->quarantined ? "quarantined" : "gone meanwhile");
    return true;
}

/* Young files may be some node's work. */
static bool is_old(const struct fsck *fsck, enum blob_kind kind, const char *name, bool *old,
                   struct error *error)
{
    struct blob_state state;
    if (!blob_look(fsck->config->blobdir, kind, name, &state, error))
        return false;
    *old = state.exists && state.changed_at_ms < fsck->before_ms;
    return true;
}

static bool check_foreign(void *context, enum blob_kind kind, const char *name, struct error *error)
{
    struct fsck *fsck = context;
    bool old = false;
    if (!is_old(fsck, kind, name, &old, error))
        return false;
    if (!old)
        return true;
    struct fsck_problem *problem =
        fsck_add(fsck, FSCK_FOREIGN, path_of(fsck->arena, kind, name), "no blob has such a name");
    return put_aside(fsck, kind, name, problem, error);
}

/* fsck_import() has told it. */
static bool is_lost_image(const struct fsck *fsck, const struct blob_id *file)
{
    const struct fsck_import *lost = fsck->lost;
    while (lost && !(file->kind == BLOB_MANIFEST && digest_equal(&lost->key, &file->key)))
        lost = lost->next;
    return lost;
}

static bool check_unknown(void *context, const struct blob_id *file, struct error *error)
{
    struct fsck *fsck = context;
    cleanup_arena struct arena arena = {0};
    struct unknown_files still;
    struct file_lock *tried = NULL;
    char name[BLOB_PATH_SIZE];
    char path[BLOB_PATH_SIZE];
    bool old = false;
    blob_name(file->kind, &file->key, name);
    blob_path(file->kind, &file->key, path);
    if (!is_old(fsck, file->kind, name, &old, error))
        return false;
    if (!old)
        return true;
    if (!file_lock_try(fsck->config->catalogue, file, &tried, error))
        return false;
    cleanup_file_lock struct file_lock *lock = tried;
    if (!lock) {
        fsck->report->busy++;
        return true;
    }
    if (!unknown_files_find(fsck->config->catalogue, file->kind, &file->key, 1, &arena, &still,
                            error))
        return false;
    if (still.count == 0 || is_lost_image(fsck, file))
        return true;
    bool is_image = file->kind == BLOB_MANIFEST;
    struct fsck_problem *problem =
        fsck_add(fsck, is_image ? FSCK_UNKNOWN_IMAGE : FSCK_EXTRA, path,
                 is_image ? "it describes an image that the catalogue does not have"
                          : "the catalogue does not know it");
    if (fsck->lost) {
        problem->action = "left: it may belong to an image that could not be taken in";
        return true;
    }
    return file_lock_check(lock, error) && put_aside(fsck, file->kind, name, problem, error);
}

/* --- tmp/ --- */

static void tell_stray(struct fsck *fsck, const char *path, const char *detail)
{
    struct fsck_problem *problem = fsck_add(fsck, FSCK_STRAY, path, detail);
    fsck->config->tell(fsck->config->context, problem);
    if (fsck->config->repair)
        fsck_repaired(fsck, problem, "removed");
}

static bool check_dead_node(struct fsck *fsck, const char *node_id, struct error *error)
{
    struct blobdir *blobdir = fsck->config->blobdir;
    struct blob_state state;
    if (!blobdir_look_at_draft(blobdir, node_id, &state, error))
        return false;
    if (!state.exists || state.changed_at_ms >= fsck->before_ms)
        return true;
    if (fsck->config->repair && !blobdir_remove_node(blobdir, node_id, error))
        return false;
    tell_stray(fsck, arena_printf(fsck->arena, "tmp/%s", node_id), "drafts of a node that is dead");
    return true;
}

static void free_names(char ***names)
{
    for (char **name = *names; name && *name; name++)
        free(*name);
    free(*names);
}

static bool check_dead_nodes(struct fsck *fsck, const struct id_list *dead, struct error *error)
{
    for (size_t i = 0; i < dead->count; i++)
        if (strcmp(dead->ids[i], fsck->config->node_id) != 0 &&
            !check_dead_node(fsck, dead->ids[i], error))
            return false;
    return true;
}

static bool check_nodes(struct fsck *fsck, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct id_list dead = {0};
    struct id_list unknown = {0};
    cleanup(free_names) char **names = blobdir_list_nodes(fsck->config->blobdir, error);
    return names &&
           catalogue_dead_nodes(fsck->config->catalogue, NULL, names, &arena, &dead, &unknown,
                                error) &&
           check_dead_nodes(fsck, &dead, error) && check_dead_nodes(fsck, &unknown, error);
}

static bool check_strays(struct fsck *fsck, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct blob_strays strays;
    if (!blobdir_find_strays(fsck->config->blobdir, fsck->before_ms, fsck->config->repair, &arena,
                             &strays, error))
        return false;
    for (size_t i = 0; i < strays.count; i++)
        tell_stray(fsck, strays.paths[i], "no node wrote it");
    return true;
}

bool fsck_check_directory(struct fsck *fsck, struct error *error)
{
    const struct unknown_walk walk = {.catalogue = fsck->config->catalogue,
                                      .blobdir = fsck->config->blobdir,
                                      .context = fsck,
                                      .unknown = check_unknown,
                                      .foreign = check_foreign};
    for (int kind = 0; kind < BLOB_KIND_COUNT; kind++)
        if (!unknown_files_walk(&walk, (enum blob_kind)kind, error))
            return false;
    return check_nodes(fsck, error) && check_strays(fsck, error);
}
