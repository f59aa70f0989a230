/* The routes: one table of method, path pattern and handler. */
#ifndef LARDER_SERVER_ROUTES_H
#define LARDER_SERVER_ROUTES_H

#include "server/request.h"

enum route_body {
    BODY_NONE,
    BODY_OPTIONAL, /* JSON */
    BODY_REQUIRED, /* JSON */
    BODY_STREAM,   /* an archive, of any size: the handler reads request->upload as it comes */
};

struct route {
    const char *method; /* GET answers HEAD too */
    const char *pattern;
    route_handler *handler;
    route_handler *check; /* of what can be judged before the body; on the loop; may be NULL */
    enum role role;       /* what it takes at least; each row says it */
    bool on_loop;         /* never blocks: runs on the event loop's thread */
    bool is_long;         /* takes seconds: has workers of its own */
    bool reads_files;   /* of the blob directory, whose disk may hang, and nothing else: likewise */
    bool touches_files; /* beside the catalogue: likewise */
    /* Memory is brought up to date before the answer is sent: */
    bool changes_images;  /* which says what images there are from now on; */
    bool tells_of_images; /* or that others changed them, else it is 503 */
    enum route_body body;
    const char *const *query; /* the parameters it knows, ended by NULL; NULL: none */
};

/* Finds the route of the request's path and method, checks its query's names, and
 * fills route and variable. Fails with ERROR_NOT_FOUND; with
 * ERROR_METHOD_NOT_ALLOWED, *allow then being the header's value; with
 * ERROR_INVALID_ARGUMENT for an unknown parameter. */
[[nodiscard]] bool route_find(struct request *request, const char **allow, struct error *error);

/* For metrics: the number of a row of the table, ROUTE_NONE for NULL, and its method and
 * pattern, NULL when there is no such row. */
enum { ROUTE_NONE = 0 };
[[nodiscard]] unsigned route_number(const struct route *route);
[[nodiscard]] const struct route *route_of_number(unsigned number);

#endif
