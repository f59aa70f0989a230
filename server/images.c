/* /images: taking what is here away. (What is here: image_reads.c. Bringing it here: pulls.c.) */
#include "server/image_selection.h"
#include "server/json_fields.h"
#include "server/log.h"
#include "server/node.h"
#include "server/reaper_thread.h"
#include "server/resources.h"
#include "server/shapes.h"

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
 * unlinked right now is left to the reaper's next round. */
static void reap(struct request *request, const struct removal *removal, struct reaped *reaped)
{
    struct node *node = request->node;
    struct error error;
    *reaped = (struct reaped){0};
    if (reaper_reap(node->catalogue, node->blobdir, removal->condemned, removal->condemned_count,
                    reaped, &error))
        return;
    LOG(&node->log, LOG_WARNING, "reaping left for later", FIELD_TEXT("request_id", request->id),
        FIELD_TEXT("detail", error.message));
    reaper_thread_wake(node->reaper);
}

bool images_remove(struct request *request, struct error *error)
{
    struct image_selection selection;
    struct removal removal = {0};
    struct reaped reaped;
    bool force = false;
    struct id_list *users = arena_alloc(&request->arena, sizeof(*users));
    if (!image_selection_read(request, &selection, error) ||
        !request_query_bool(request, "force", false, &force, error))
        return false;
    if (!catalogue_remove_image(request->node->catalogue, &selection.reference,
                                selection.choice.wanted, force, &request->arena, &removal, users,
                                error)) {
        if (error->code == ERROR_IMAGE_IN_USE)
            request->about_sandboxes = users;
        return false;
    }
    reap(request, &removal, &reaped);
    request_answer_empty(request, 204);
    return true;
}

static bool read_prune_options(struct request *request, struct prune_options *options,
                               struct error *error)
{
    const struct json_field fields[] = {
        {.name = "dry_run", .type = FIELD_BOOL, .boolean = &options->dry_run},
        {.name = "unused_for_seconds",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &options->unused_for_seconds,
         .max = INT32_MAX},
        {.name = "keep_bytes",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &options->keep_bytes,
         .max = INT64_MAX,
         .given = &options->has_keep_bytes},
        {.name = "reference",
         .type = FIELD_TEXT,
         .nullable = true,
         .text = &options->reference_glob,
         .max_length = GLOB_MAX_BYTES},
    };
    return !request->json || json_fields_read(request->json, "", fields, COUNT(fields), error);
}

/* A glob is taken as it is; a reference without `*` in its canonical form. */
static bool canonical_glob(struct request *request, const char **glob, struct error *error)
{
    struct reference reference;
    if (!*glob || strchr(*glob, '*'))
        return true;
    if (!reference_parse(*glob, &reference, error))
        return false;
    char *canonical = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&reference, canonical);
    *glob = canonical;
    return true;
}

bool images_prune(struct request *request, struct error *error)
{
    struct prune_options options = {0};
    struct removal removal = {0};
    struct reaped reaped;
    if (!read_prune_options(request, &options, error) ||
        !canonical_glob(request, &options.reference_glob, error) ||
        !catalogue_prune(request->node->catalogue, &options, &request->arena, &removal, error))
        return false;
    if (!options.dry_run)
        reap(request, &removal, &reaped);
    cleanup_json_writer struct json_writer out = {0};
    shape_prune_report(&out, &removal, options.dry_run ? NULL : &reaped);
    request_answer_json(request, 200, &out);
    return true;
}
