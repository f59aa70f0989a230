#include "server/resources.h"

bool health_alive(struct request *request, struct error *error)
{
    (void)error;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "status", "ok");
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}

bool version_show(struct request *request, struct error *error)
{
    (void)error;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_write_text(&out, "version", LARDER_VERSION);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}
