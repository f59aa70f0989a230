/* /images: what is here, and taking it away. (Bringing it here: pulls.c.) */
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

/* An exact reference is put into canonical form; one with `*` is a glob. */
static bool read_reference_filter(struct request *request, struct image_filter *filter,
                                  struct error *error)
{
    const char *text = request_query(request, "reference");
    struct reference reference;
    if (!text)
        return true;
    if (strchr(text, '*')) {
        filter->reference_glob = text;
        return strlen(text) <= GLOB_MAX_BYTES ||
               error_set(error, ERROR_INVALID_ARGUMENT,
                         "The query parameter \"reference\" is longer than %d bytes",
                         GLOB_MAX_BYTES);
    }
    if (!reference_parse(text, &reference, error))
        return false;
    char *canonical = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&reference, canonical);
    filter->reference = canonical;
    return true;
}

bool images_check_digest(const char *name, const char *text, struct error *error)
{
    struct digest digest;
    return !text || digest_parse(text, &digest) ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "%s is \"%s\"; allowed are \"sha256:\" and 64 lower-case hex digits", name,
                     text);
}

static bool read_filter(struct request *request, struct image_filter *filter, struct error *error)
{
    bool in_use = false;
    filter->manifest_digest = request_query(request, "manifest_digest");
    filter->architecture = request_query(request, "architecture");
    filter->os = request_query(request, "os");
    if (!read_reference_filter(request, filter, error) ||
        !images_check_digest("manifest_digest", filter->manifest_digest, error) ||
        !request_query_bool(request, "in_use", false, &in_use, error))
        return false;
    if (request_query(request, "in_use"))
        filter->in_use = in_use ? IN_USE_YES : IN_USE_NO;
    return true;
}

bool images_list(struct request *request, struct error *error)
{
    struct image_filter filter = {0};
    struct image_page page;
    size_t limit = 0;
    if (!read_filter(request, &filter, error) || !request_query_limit(request, &limit, error) ||
        !catalogue_list_images(request->node->catalogue, &filter, limit,
                               request_query(request, "page_token"), &request->arena, &page, error))
        return false;

    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "images");
    for (size_t i = 0; i < page.count; i++)
        shape_image_handle(&out, NULL, &page.images[i]);
    json_end_array(&out);
    json_write_text(&out, "next_page_token", page.next_page_token);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}

bool images_show(struct request *request, struct error *error)
{
    struct image_selection selection;
    struct image_handle handle;
    if (!image_selection_read(request, &selection, error) ||
        !catalogue_find_image(request->node->catalogue, &selection.reference, &selection.choice,
                              &request->arena, &handle, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    shape_image_handle(&out, NULL, &handle);
    request_answer_json(request, 200, &out);
    return true;
}

bool images_inspect(struct request *request, struct error *error)
{
    struct image_selection selection;
    struct image_detail detail;
    if (!image_selection_read(request, &selection, error) ||
        !catalogue_inspect_image(request->node->catalogue, &selection.reference, &selection.choice,
                                 &request->arena, &detail, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    shape_image_detail(&out, NULL, &detail);
    request_answer_json(request, 200, &out);
    return true;
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
