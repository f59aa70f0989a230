#include "server/commands.h"
#include "server/json_writer.h"
#include "server/routes.h"

#include <stdio.h>

static void write_route(struct json_writer *out, const struct route *route)
{
    static const char *const bodies[] = {[BODY_NONE] = "none",
                                         [BODY_OPTIONAL] = "optional",
                                         [BODY_REQUIRED] = "required",
                                         [BODY_STREAM] = "required"};
    json_begin_object(out, NULL);
    json_write_text(out, "method", route->method);
    json_write_text(out, "pattern", route->pattern);
    json_write_text(out, "role", role_name(route->role));
    json_write_text(out, "body", bodies[route->body]);
    json_begin_array(out, "query");
    for (const char *const *name = route->query; name && *name; name++)
        json_write_text(out, NULL, *name);
    json_end_array(out);
    json_end_object(out);
}

static void write_problem(struct json_writer *out, enum error_code code)
{
    json_begin_object(out, NULL);
    json_write_text(out, "code", error_code_name(code));
    json_write_text(out, "title", error_code_title(code));
    json_write_int(out, "status", error_code_status(code));
    json_end_object(out);
}

int command_interface(int argc, char *const *argv)
{
    (void)argc;
    (void)argv;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "routes");
    for (unsigned number = ROUTE_NONE + 1; route_of_number(number); number++)
        write_route(&out, route_of_number(number));
    json_end_array(&out);
    json_begin_array(&out, "problems");
    for (int code = ERROR_NONE + 1; code < ERROR_CODE_COUNT; code++)
        write_problem(&out, (enum error_code)code);
    json_end_array(&out);
    json_end_object(&out);
    printf("%.*s\n", (int)out.size_bytes, out.bytes);
    return 0;
}
