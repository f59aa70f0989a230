/* /sandboxes: who runs on what. */
#include "server/auth.h"
#include "server/json_fields.h"
#include "server/node.h"
#include "server/resources.h"
#include "server/rootfs.h"
#include "server/shapes.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    NAME_MAX_BYTES = 255,
    MAX_TTL_SECONDS = 10 * 365 * 24 * 3600, /* ten years: longer is null, for ever */
};

bool holders_check_id(const char *id, struct error *error)
{
    return strlen(id) <= NAME_MAX_BYTES ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "The id in the path has %zu bytes; allowed are 1 to %d", strlen(id),
                     NAME_MAX_BYTES);
}

static bool read_registration(struct request *request, struct rootfs *rootfs,
                              struct sandbox_registration *registration, struct error *error)
{
    json_t *source = NULL;
    const struct json_field fields[] = {
        {.name = "host",
         .type = FIELD_TEXT,
         .required = true,
         .text = &registration->host,
         .max_length = NAME_MAX_BYTES},
        {.name = "rootfs", .type = FIELD_OBJECT, .required = true, .object = &source},
        {.name = "ttl_seconds",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &registration->ttl_seconds,
         .min = 1,
         .max = MAX_TTL_SECONDS,
         .given = &registration->expires},
    };
    registration->id = request->variable;
    if (!holders_check_id(request->variable, error) ||
        !json_fields_read(request->json, "", fields, COUNT(fields), error) ||
        !auth_check_host(request, registration->host, error) ||
        !rootfs_read(source, &request->arena, rootfs, error))
        return false;
    registration->only_host = auth_only_host(request);
    registration->rootfs_json = rootfs->json;
    registration->reference = rootfs->is_oci ? &rootfs->reference : NULL;
    return true;
}

static void answer_sandbox(struct request *request, unsigned status, const struct sandbox *sandbox)
{
    cleanup_json_writer struct json_writer out = {0};
    shape_sandbox(&out, NULL, sandbox);
    request_answer_json(request, status, &out);
}

bool sandboxes_put(struct request *request, struct error *error)
{
    struct rootfs rootfs;
    struct platform wanted;
    struct platform_choice choice = {.preferred = &request->node->platform};
    struct sandbox_registration registration = {.choice = &choice};
    struct sandbox sandbox;
    bool created = false;
    const char *platform = request_query(request, "platform");
    if (!read_registration(request, &rootfs, &registration, error))
        return false;
    if (platform) {
        if (!platform_parse(platform, &wanted, error))
            return false;
        choice.wanted = &wanted;
    }
    if (rootfs.is_oci) {
        char *text = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
        reference_format(&rootfs.reference, text);
        request->about_reference = text;
    }
    if (!catalogue_put_sandbox(request->node->catalogue, &registration, &request->arena, &sandbox,
                               &created, error))
        return false;
    answer_sandbox(request, created ? 201 : 200, &sandbox);
    return true;
}

bool sandboxes_show(struct request *request, struct error *error)
{
    struct sandbox sandbox;
    if (!catalogue_find_sandbox(request->node->catalogue, request->variable, &request->arena,
                                &sandbox, error))
        return false;
    answer_sandbox(request, 200, &sandbox);
    return true;
}

static bool read_filter(struct request *request, struct sandbox_filter *filter, struct error *error)
{
    const char *text = request_query(request, "reference");
    struct reference reference;
    filter->host = request_query(request, "host");
    filter->manifest_digest = request_query(request, "manifest_digest");
    if (!images_check_digest("manifest_digest", filter->manifest_digest, error))
        return false;
    if (!text)
        return true;
    if (!reference_parse(text, &reference, error))
        return false;
    char *canonical = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&reference, canonical);
    filter->reference = canonical;
    return true;
}

bool sandboxes_list(struct request *request, struct error *error)
{
    struct sandbox_filter filter = {0};
    struct sandbox_page page;
    size_t limit = 0;
    if (!read_filter(request, &filter, error) || !request_query_limit(request, &limit, error) ||
        !catalogue_list_sandboxes(request->node->catalogue, &filter, limit,
                                  request_query(request, "page_token"), &request->arena, &page,
                                  error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "sandboxes");
    for (size_t i = 0; i < page.count; i++)
        shape_sandbox(&out, NULL, &page.sandboxes[i]);
    json_end_array(&out);
    json_write_text(&out, "next_page_token", page.next_page_token);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}

bool sandboxes_remove(struct request *request, struct error *error)
{
    if (!catalogue_remove_sandbox(request->node->catalogue, request->variable,
                                  auth_only_host(request), error))
        return false;
    request_answer_empty(request, 204);
    return true;
}

bool sandboxes_remove_host(struct request *request, struct error *error)
{
    const char *host = request_query(request, "host");
    if (!host || !*host)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "The query parameter \"host\" is missing: whose sandboxes are released?");
    if (!auth_check_host(request, host, error))
        return false;
    if (!catalogue_remove_host(request->node->catalogue, host, error))
        return false;
    request_answer_empty(request, 204);
    return true;
}
