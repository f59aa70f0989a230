/* /openapi.yaml and /openapi.json: the interface, as openapi/openapi.yaml says it. */
#include "server/resources.h"
#include "store/embedded.h"

#include <assert.h>

static bool show(struct request *request, const char *name, const char *content_type)
{
    const struct embedded_file *file = embedded_find(embedded_interface, name);
    assert(file);
    cleanup_json_writer struct json_writer out = {0};
    json_append(&out, file->bytes, file->size);
    request_answer_coded(request, 200, content_type, &out);
    return true;
}

bool openapi_show_yaml(struct request *request, struct error *error)
{
    (void)error;
    return show(request, "openapi.yaml", "application/yaml");
}

bool openapi_show_json(struct request *request, struct error *error)
{
    (void)error;
    return show(request, "openapi.json", "application/json");
}
