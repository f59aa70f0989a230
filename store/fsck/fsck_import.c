/* Images that the directory describes and the catalogue does not have: it lost them. Their pull
 * takes all that is good from the directory (pull/pull_recall.c). */
#include "store/fsck/fsck_internal.h"

#include "store/description.h"
#include "store/unknown_files.h"

#include <errno.h>

struct search {
    struct fsck *fsck;
    struct fsck_import *imports;
};

/* Nobody knows which files belong to it: so none is moved (fsck_directory.c). */
static bool leave_unread(struct fsck *fsck, const struct blob_id *file, const char *why)
{
    char path[BLOB_PATH_SIZE];
    blob_path(BLOB_MANIFEST, &file->key, path);
    struct fsck_problem *problem = fsck_add(fsck, FSCK_UNREADABLE, path, why);
    problem->action = "left: it may be in order";
    fsck->config->tell(fsck->config->context, problem);
    struct fsck_import *import = arena_alloc(fsck->arena, sizeof(*import));
    *import = (struct fsck_import){.key = file->key, .problem = problem, .next = fsck->lost};
    fsck->lost = import;
    return true;
}

/* Queues the pull of the image; none when the description is not one of ours. */
static bool queue(void *context, const struct blob_id *file, struct error *error)
{
    struct search *search = context;
    struct fsck *fsck = search->fsck;
    struct error why = {0};
    struct platform platform;
    cleanup_description struct description description = {0};
    cleanup_fd int fd = blob_open(fsck->config->blobdir, BLOB_MANIFEST, &file->key, &why);
    bool was_read = fd >= 0 && description_read(fd, &description, &why);
    if (!was_read && why.os_errno && why.os_errno != ENOENT)
        return leave_unread(fsck, file, why.message);
    if (!was_read || !description.reference ||
        !platform_parse(description.platform, &platform, &why))
        return true;
    char path[BLOB_PATH_SIZE];
    blob_path(BLOB_MANIFEST, &file->key, path);
    struct fsck_problem *problem = fsck_add(fsck, FSCK_UNKNOWN_IMAGE, path,
                                            "it describes an image that the catalogue does not "
                                            "have");
    problem->reference = arena_strdup(fsck->arena, description.reference);
    fsck->config->tell(fsck->config->context, problem);
    const struct damaged_image image = {problem->reference, platform.os, platform.architecture,
                                        platform.variant};
    struct fsck_import *import = arena_alloc(fsck->arena, sizeof(*import));
    *import = (struct fsck_import){.key = file->key, .problem = problem, .next = search->imports};
    search->imports = import;
    return damage_queue_pull(fsck->config->catalogue, &image, fsck->arena, &import->pull_id, error);
}

bool fsck_import(struct fsck *fsck, struct error *error)
{
    struct search search = {.fsck = fsck};
    const struct unknown_walk walk = {.catalogue = fsck->config->catalogue,
                                      .blobdir = fsck->config->blobdir,
                                      .context = &search,
                                      .unknown = queue};
    if (!unknown_files_walk(&walk, BLOB_MANIFEST, error))
        return false;
    for (struct fsck_import *import = search.imports, *next; import; import = next) {
        struct pull pull = {0};
        next = import->next;
        if (!fsck_wait_for_pull(fsck, import->pull_id, &pull, error))
            return false;
        if (pull.state == PULL_DONE) {
            fsck_repaired(fsck, import->problem, "taken into the catalogue");
            continue;
        }
        import->problem->action =
            arena_printf(fsck->arena, "it could not be taken in: %s",
                         pull.has_error ? pull.error.message : pull_state_name(pull.state));
        import->next = fsck->lost;
        fsck->lost = import;
    }
    return true;
}
