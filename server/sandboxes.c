/* /sandboxes: who runs on what. (Registering: sandbox_put.c.) */
#include "server/auth.h"
#include "server/node.h"
#include "server/resources.h"
#include "server/shapes.h"

static void answer_sandbox(struct request *request, const struct sandbox *sandbox)
{
    cleanup_json_writer struct json_writer out = {0};
    shape_sandbox(&out, NULL, sandbox);
    request_answer_json(request, 200, &out);
}

bool sandboxes_show(struct request *request, struct error *error)
{
    cleanup_arena struct arena arena = {0}; /* a config does not wait for the answer to be read */
    struct sandbox sandbox;
    if (!catalogue_find_sandbox(request->node->catalogue, request->variable, &arena, &sandbox,
                                error))
        return false;
    answer_sandbox(request, &sandbox);
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
    cleanup_arena struct arena arena = {0};
    struct sandbox_filter filter = {0};
    struct sandbox_page page;
    size_t limit = 0;
    if (!read_filter(request, &filter, error) || !request_query_limit(request, &limit, error) ||
        !catalogue_list_sandboxes(request->node->catalogue, &filter, limit,
                                  request_query(request, "page_token"), &arena, &page, error))
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
