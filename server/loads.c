/* /images:load: images that are sent to us. (Bringing them here: pulls.c.) */
#include "server/body_stream.h"
#include "server/node.h"
#include "server/resources.h"
#include "server/shapes.h"
#include "store/load.h"
#include "store/puller.h"

struct wanted {
    struct reference reference;
    struct platform platform;
    struct load_request request;
};

static bool read_query(const struct request *request, struct wanted *wanted, struct error *error)
{
    const char *reference = request_query(request, "reference");
    const char *platform = request_query(request, "platform");
    *wanted = (struct wanted){0};
    if (reference && !reference_parse(reference, &wanted->reference, error))
        return false;
    if (platform && !platform_parse(platform, &wanted->platform, error))
        return error_context(error, "The query parameter \"platform\"");
    wanted->request = (struct load_request){reference ? &wanted->reference : NULL,
                                            platform ? &wanted->platform : NULL};
    return true;
}

bool images_check_load(struct request *request, struct error *error)
{
    struct wanted wanted;
    return read_query(request, &wanted, error);
}

bool images_load(struct request *request, struct error *error)
{
    const struct tar_source body = {body_stream_next, request->upload};
    struct wanted wanted;
    struct load_result result;
    if (!read_query(request, &wanted, error) ||
        !load_archive(request->node->puller, &wanted.request, &body, &request->arena, &result,
                      error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "images");
    for (size_t i = 0; i < result.count; i++)
        shape_image_handle(&out, NULL, &result.images[i]);
    json_end_array(&out);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}
