/* Images that the directory describes and the catalogue does not have: it lost them. Their pull
 * takes all that is good from the directory (pull/pull_recall.c). */
#include "store/fsck/fsck_internal.h"

#include "store/blob_list.h"
#include "store/description.h"
#include "store/sweep.h"

/* Queues the pull of the image; none when the description is not one of ours. */
static bool queue(struct fsck *fsck, const struct digest *key, struct fsck_import **imports,
                  struct error *error)
{
    struct error why;
    struct platform platform;
    cleanup_description struct description description = {0};
    cleanup_fd int fd = blob_open(fsck->config->blobdir, BLOB_MANIFEST, key, &why);
    if (fd < 0 || !description_read(fd, &description, &why) || !description.reference ||
        !platform_parse(description.platform, &platform, &why))
        return true;
    char path[BLOB_PATH_SIZE];
    blob_path(BLOB_MANIFEST, key, path);
    struct fsck_problem *problem = fsck_add(fsck, FSCK_UNKNOWN_IMAGE, path,
                                            "it describes an image that the catalogue does not "
                                            "have");
    problem->reference = arena_strdup(fsck->arena, description.reference);
    fsck->config->tell(fsck->config->context, problem);
    const struct damaged_image image = {problem->reference, platform.os, platform.architecture,
                                        platform.variant};
    struct fsck_import *import = arena_alloc(fsck->arena, sizeof(*import));
    *import = (struct fsck_import){.key = *key, .problem = problem, .next = *imports};
    *imports = import;
    return damage_queue_pull(fsck->config->catalogue, &image, fsck->arena, &import->pull_id, error);
}

static bool queue_batch(struct fsck *fsck, const struct blob_entry *entries, size_t count,
                        struct arena *arena, struct fsck_import **imports, struct error *error)
{
    struct digest *keys = arena_alloc_array(arena, count, sizeof(*keys));
    size_t key_count = 0;
    for (size_t i = 0; i < count; i++)
        if (entries[i].is_blob)
            keys[key_count++] = entries[i].key;
    struct unknown_files unknown;
    if (!sweep_find_unknown(fsck->config->catalogue, BLOB_MANIFEST, keys, key_count, arena,
                            &unknown, error))
        return false;
    for (size_t i = 0; i < unknown.count; i++)
        if (!queue(fsck, &unknown.keys[i], imports, error))
            return false;
    return true;
}

static bool queue_all(struct fsck *fsck, struct fsck_import **imports, struct error *error)
{
    cleanup_blob_list struct blob_list *list =
        blob_list_open(fsck->config->blobdir, BLOB_MANIFEST, error);
    if (!list)
        return false;
    for (;;) {
        cleanup_arena struct arena arena = {0};
        struct blob_entry *entries = NULL;
        size_t count = 0;
        if (!blob_list_next(list, FSCK_BATCH, &arena, &entries, &count, error))
            return false;
        if (count == 0)
            return true;
        if (!queue_batch(fsck, entries, count, &arena, imports, error))
            return false;
    }
}

bool fsck_import(struct fsck *fsck, struct error *error)
{
    struct fsck_import *next = NULL;
    if (!queue_all(fsck, &next, error))
        return false;
    while (next) {
        struct fsck_import *import = next;
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
