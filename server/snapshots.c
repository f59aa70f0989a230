/* /snapshots: manifests that stay without a running sandbox. */
#include "server/json_fields.h"
#include "server/node.h"
#include "server/resources.h"
#include "server/shapes.h"

static void answer_snapshot(struct request *request, unsigned status,
                            const struct snapshot *snapshot)
{
    cleanup_json_writer struct json_writer out = {0};
    shape_snapshot(&out, NULL, snapshot);
    request_answer_json(request, status, &out);
}

bool snapshots_put(struct request *request, struct error *error)
{
    const char *manifest_digest = NULL;
    const struct json_field fields[] = {
        {.name = "manifest_digest",
         .type = FIELD_TEXT,
         .required = true,
         .text = &manifest_digest,
         .max_length = DIGEST_TEXT_SIZE - 1},
    };
    struct snapshot snapshot;
    bool created = false;
    if (!holders_check_id(request->variable, error) ||
        !json_fields_read(request->json, "", fields, 1, error) ||
        !images_check_digest("manifest_digest", manifest_digest, error) ||
        !catalogue_put_snapshot(request->node->catalogue, request->variable, manifest_digest,
                                &request->arena, &snapshot, &created, error))
        return false;
    answer_snapshot(request, created ? 201 : 200, &snapshot);
    return true;
}

bool snapshots_show(struct request *request, struct error *error)
{
    struct snapshot snapshot;
    if (!catalogue_find_snapshot(request->node->catalogue, request->variable, &request->arena,
                                 &snapshot, error))
        return false;
    answer_snapshot(request, 200, &snapshot);
    return true;
}

bool snapshots_list(struct request *request, struct error *error)
{
    const char *manifest_digest = request_query(request, "manifest_digest");
    struct snapshot_page page;
    size_t limit = 0;
    if (!images_check_digest("manifest_digest", manifest_digest, error) ||
        !request_query_limit(request, &limit, error) ||
        !catalogue_list_snapshots(request->node->catalogue, manifest_digest, limit,
                                  request_query(request, "page_token"), &request->arena, &page,
                                  error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "snapshots");
    for (size_t i = 0; i < page.count; i++)
        shape_snapshot(&out, NULL, &page.snapshots[i]);
    json_end_array(&out);
    json_write_text(&out, "next_page_token", page.next_page_token);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}

bool snapshots_remove(struct request *request, struct error *error)
{
    if (!catalogue_remove_snapshot(request->node->catalogue, request->variable, error))
        return false;
    request_answer_empty(request, 204);
    return true;
}
