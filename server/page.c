/* /ui/: a small page over the interface, three files of server/ui/. It loads nothing from
 * elsewhere, and its policy lets it not. */
#include "server/resources.h"
#include "store/embedded.h"

#include <string.h>

static const char *media_type_of(const char *name)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
    };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static void add_policy(struct request *request)
{
    request_add_header(request, "Content-Security-Policy",
                       "default-src 'none'; script-src 'self'; style-src 'self'; "
                       "connect-src 'self'; img-src data:; form-action 'none'; "
                       "base-uri 'none'; frame-ancestors 'none'");
    request_add_header(request, "X-Content-Type-Options", "nosniff");
    request_add_header(request, "Referrer-Policy", "no-referrer");
    request_add_header(request, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
}

bool page_show(struct request *request, struct error *error)
{
    const char *name = request->variable ? request->variable : "index.html";
    const struct embedded_file *file = embedded_find(embedded_page, name);
    if (!file)
        return error_set(error, ERROR_NOT_FOUND, "The page has no file \"%s\"", name);
    cleanup_json_writer struct json_writer out = {0};
    json_append(&out, file->bytes, file->size);
    request_answer_text(request, 200, media_type_of(name), &out);
    add_policy(request);
    return true;
}
