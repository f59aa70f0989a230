/* /images: taking what is here away. (What is here: image_reads.c. Bringing it here: pulls.c.) */
#include "server/image_selection.h"
#include "server/log.h"
#include "server/node.h"
#include "server/read_cache.h"
#include "server/reaper_thread.h"
#include "server/resources.h"
#include "server/shapes.h"
#include "store/reaper.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { GLOB_MAX_BYTES = 1024 };

bool images_check_digest(const char *name, const char *text, struct error *error)
{
    struct digest digest;
    return !text || digest_parse(text, &digest) ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "%s is \"%s\"; allowed are \"sha256:\" and 64 lower-case hex digits", name,
                     text);
}

/* The rows are gone and the files condemned: that is the removal. What cannot be
 * unlinked right now is left to the reaper. */
static void reap(struct request *request, const struct condemned *condemned)
{
    struct node *node = request->node;
    struct reaped reaped;
    struct error error;
    reaper_thread_tell(node->reaper);
    if (reaper_reap(node->catalogue, node->blobdir, condemned->files, condemned->count, &reaped,
                    &error))
        return;
    LOG(&node->log, LOG_WARNING, "reaping left for later", FIELD_TEXT("request_id", request->id),
        FIELD_TEXT("detail", error.message));
    reaper_thread_wake(node->reaper);
}

/* No question could do it later, if PostgreSQL goes now. */
static void forget(struct request *request, const struct changes *changes)
{
    read_cache_evict_changes(request->node->cache, changes);
    request->memory_is_right = true;
}

bool images_remove(struct request *request, struct error *error)
{
    struct image_selection selection;
    struct removed_image removed;
    bool force = false;
    struct id_list *users = arena_alloc(&request->arena, sizeof(*users));
    if (!image_selection_read(request, &selection, error) ||
        !request_query_bool(request, "force", false, &force, error))
        return false;
    if (!catalogue_remove_image(request->node->catalogue, &selection.reference,
                                selection.choice.wanted, force, &request->arena, &removed, users,
                                error)) {
        if (error->code == ERROR_IMAGE_IN_USE)
            request->about_sandboxes = users;
        return false;
    }
    forget(request, &removed.changes);
    reap(request, &removed.condemned);
    request_answer_empty(request, 204);
    return true;
}
