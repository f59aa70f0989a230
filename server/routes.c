#include "server/routes.h"

#include "server/resources.h"
#include "store/metrics.h"

#include <assert.h>
#include <string.h>

#define QUERY_OF(...)                                                                              \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

/* A pattern with more literal parts stands before one that would match it too; the
 * rows of one pattern stand together. */
static const struct route routes[] = {
    {.method = "GET",
     .pattern = "/images/{reference}/inspect",
     .role = ROLE_READER,
     .handler = images_inspect,
     .on_loop = true,
     .query = QUERY_OF("platform")},
    {.method = "GET",
     .pattern = "/images/{reference}",
     .role = ROLE_READER,
     .handler = images_show,
     .on_loop = true,
     .query = QUERY_OF("platform")},
    {.method = "DELETE",
     .pattern = "/images/{reference}",
     .role = ROLE_ADMIN,
     .handler = images_remove,
     .touches_files = true,
     .changes_images = true,
     .query = QUERY_OF("force", "platform")},
    {.method = "GET",
     .pattern = "/images",
     .role = ROLE_READER,
     .handler = images_list,
     .on_loop = true,
     .query = QUERY_OF("limit", "page_token", "reference", "manifest_digest", "architecture", "os",
                       "in_use")},
    {.method = "POST",
     .pattern = "/images:load",
     .role = ROLE_ADMIN, /* whatever an image is called */
     .handler = images_load,
     .check = images_check_load,
     .changes_images = true,
     .body = BODY_STREAM,
     .query = QUERY_OF("reference", "platform")},
    {.method = "POST",
     .pattern = "/images:prune",
     .role = ROLE_ADMIN,
     .handler = images_prune,
     .is_long = true,
     .changes_images = true,
     .body = BODY_OPTIONAL},
    {.method = "POST",
     .pattern = "/images:pull",
     .role = ROLE_HOST,
     .handler = pulls_start,
     .touches_files = true,
     .tells_of_images = true,
     .body = BODY_REQUIRED},
    {.method = "GET",
     .pattern = "/pulls",
     .role = ROLE_READER,
     .handler = pulls_list,
     .tells_of_images = true,
     .query = QUERY_OF("limit", "page_token")},
    {.method = "GET",
     .pattern = "/pulls/{id}/events",
     .role = ROLE_READER,
     .handler = pulls_follow,
     .tells_of_images = true},
    {.method = "GET",
     .pattern = "/pulls/{id}",
     .role = ROLE_READER,
     .handler = pulls_show,
     .tells_of_images = true},
    {.method = "DELETE",
     .pattern = "/pulls/{id}",
     .role = ROLE_ADMIN,
     .handler = pulls_cancel,
     .touches_files = true},
    {.method = "GET",
     .pattern = "/sandboxes",
     .role = ROLE_READER,
     .handler = sandboxes_list,
     .query = QUERY_OF("limit", "page_token", "host", "reference", "manifest_digest")},
    {.method = "DELETE",
     .pattern = "/sandboxes",
     .role = ROLE_HOST,
     .handler = sandboxes_remove_host,
     .query = QUERY_OF("host")},
    {.method = "PUT",
     .pattern = "/sandboxes/{id}",
     .role = ROLE_HOST,
     .handler = sandboxes_put,
     .changes_images = true,
     .body = BODY_REQUIRED,
     .query = QUERY_OF("platform")},
    {.method = "GET", .pattern = "/sandboxes/{id}", .role = ROLE_READER, .handler = sandboxes_show},
    {.method = "DELETE",
     .pattern = "/sandboxes/{id}",
     .role = ROLE_HOST,
     .handler = sandboxes_remove},
    {.method = "POST",
     .pattern = "/sandboxes:batch",
     .role = ROLE_HOST,
     .handler = sandboxes_put_batch,
     .changes_images = true,
     .body = BODY_REQUIRED,
     .query = QUERY_OF("platform")},
    {.method = "GET",
     .pattern = "/snapshots",
     .role = ROLE_READER,
     .handler = snapshots_list,
     .query = QUERY_OF("limit", "page_token", "manifest_digest")},
    {.method = "PUT",
     .pattern = "/snapshots/{id}",
     .role = ROLE_ADMIN,
     .handler = snapshots_put,
     .body = BODY_REQUIRED},
    {.method = "GET", .pattern = "/snapshots/{id}", .role = ROLE_READER, .handler = snapshots_show},
    {.method = "DELETE",
     .pattern = "/snapshots/{id}",
     .role = ROLE_ADMIN,
     .handler = snapshots_remove},
    {.method = "GET", .pattern = "/pins", .role = ROLE_READER, .handler = pins_list},
    {.method = "PUT", .pattern = "/pins/{reference}", .role = ROLE_ADMIN, .handler = pins_put},
    {.method = "DELETE",
     .pattern = "/pins/{reference}",
     .role = ROLE_ADMIN,
     .handler = pins_remove},
    {.method = "GET", .pattern = "/nodes", .role = ROLE_READER, .handler = nodes_list},
    {.method = "GET",
     .pattern = "/layers/{diff_id}",
     .role = ROLE_READER,
     .handler = layers_show,
     .reads_files = true},
    {.method = "GET",
     .pattern = "/manifests/{digest}/fsmeta",
     .role = ROLE_READER,
     .handler = manifests_show_fsmeta,
     .reads_files = true},
    {.method = "GET",
     .pattern = "/manifests/{digest}/vmdk",
     .role = ROLE_READER,
     .handler = manifests_show_vmdk,
     .reads_files = true},
    {.method = "GET",
     .pattern = "/healthz",
     .role = ROLE_ANYBODY,
     .handler = health_alive,
     .on_loop = true},
    {.method = "GET",
     .pattern = "/readyz",
     .role = ROLE_ANYBODY,
     .handler = health_ready,
     .touches_files = true,
     .query = QUERY_OF("reads")},
    {.method = "GET",
     .pattern = "/version",
     .role = ROLE_READER,
     .handler = version_show,
     .on_loop = true},
    {.method = "GET",
     .pattern = "/metrics",
     .role = ROLE_READER,
     .handler = metrics_show,
     .on_loop = true},
    {.method = "GET",
     .pattern = "/ui",
     .role = ROLE_ANYBODY,
     .handler = page_show,
     .on_loop = true},
    {.method = "GET",
     .pattern = "/ui/{file}",
     .role = ROLE_ANYBODY,
     .handler = page_show,
     .on_loop = true},
    {.method = "GET",
     .pattern = "/openapi.yaml",
     .role = ROLE_READER,
     .handler = openapi_show_yaml,
     .on_loop = true},
    {.method = "GET",
     .pattern = "/openapi.json",
     .role = ROLE_READER,
     .handler = openapi_show_json,
     .on_loop = true},
};
enum { ROUTE_COUNT = sizeof(routes) / sizeof(routes[0]) };
static_assert((int)ROUTE_COUNT < (int)METRIC_ROUTES_MAX, "each route has its metrics");

unsigned route_number(const struct route *route)
{
    return route ? (unsigned)(route - routes) + 1 : ROUTE_NONE;
}

const struct route *route_of_number(unsigned number)
{
    return number > ROUTE_NONE && number <= ROUTE_COUNT ? &routes[number - 1] : NULL;
}

static bool method_matches(const char *method, const struct route *route)
{
    return strcmp(method, route->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* The methods of a pattern: "GET, HEAD, PUT". */
static const char *allowed_methods(struct arena *arena, const char *pattern)
{
    const char *allow = "";
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        if (strcmp(routes[i].pattern, pattern) == 0)
            allow = arena_printf(arena, "%s%s%s%s", allow, *allow ? ", " : "", routes[i].method,
                                 strcmp(routes[i].method, "GET") == 0 ? ", HEAD" : "");
    return allow;
}

static bool knows_parameter(const struct route *route, const char *name)
{
    for (const char *const *known = route->query; known && *known; known++)
        if (strcmp(*known, name) == 0)
            return true;
    return false;
}

static const char *known_parameters(struct arena *arena, const struct route *route)
{
    const char *text = "none";
    for (const char *const *known = route->query; known && *known; known++)
        text = known == route->query ? *known : arena_printf(arena, "%s, %s", text, *known);
    return text;
}

static bool check_query(struct request *request, struct error *error)
{
    const struct route *route = request->route;
    for (size_t i = 0; i < request->query.count; i++) {
        const char *name = request->query.parameters[i].name;
        if (!knows_parameter(route, name))
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "There is no query parameter \"%s\" here; allowed: %s", name,
                             known_parameters(&request->arena, route));
    }
    return true;
}

static bool same_pattern(const struct route *one, const struct route *other)
{
    return strcmp(one->pattern, other->pattern) == 0;
}

/* The first of those with a pattern that fits; they stand beside each other. */
static const struct route *first_matching(struct request *request)
{
    for (const struct route *route = routes; route < routes + ROUTE_COUNT; route++)
        if ((route == routes || !same_pattern(route, route - 1)) &&
            path_matches(&request->path, route->pattern, &request->arena, &request->variable))
            return route;
    return NULL;
}

bool route_find(struct request *request, const char **allow, struct error *error)
{
    const struct route *first = first_matching(request);
    if (!first)
        return error_set(error, ERROR_NOT_FOUND, "There is nothing at this path");
    for (const struct route *route = first;
         route < routes + ROUTE_COUNT && same_pattern(route, first) && !request->route; route++)
        if (method_matches(request->method, route))
            request->route = route;
    if (!request->route) {
        *allow = allowed_methods(&request->arena, first->pattern);
        return error_set(error, ERROR_METHOD_NOT_ALLOWED, "%s takes %s", first->pattern, *allow);
    }
    return check_query(request, error);
}
