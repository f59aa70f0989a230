#include "server/routes.h"

#include "server/resources.h"

#include <string.h>

/* A pattern with more literal parts stands before one that would match it too. */
static const struct route routes[] = {
    {"GET", "/healthz", health_alive, true, BODY_NONE, NULL},
    {"GET", "/version", version_show, true, BODY_NONE, NULL},
};
enum { ROUTE_COUNT = sizeof(routes) / sizeof(routes[0]) };

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

static const char *matching_pattern(struct request *request)
{
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        if ((i == 0 || strcmp(routes[i].pattern, routes[i - 1].pattern) != 0) &&
            path_matches(&request->path, routes[i].pattern, &request->arena, &request->variable))
            return routes[i].pattern;
    return NULL;
}

bool route_find(struct request *request, const char **allow, struct error *error)
{
    const char *pattern = matching_pattern(request);
    if (!pattern)
        return error_set(error, ERROR_NOT_FOUND, "There is nothing at this path");
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        if (strcmp(routes[i].pattern, pattern) == 0 && method_matches(request->method, &routes[i]))
            request->route = &routes[i];
    if (!request->route) {
        *allow = allowed_methods(&request->arena, pattern);
        return error_set(error, ERROR_METHOD_NOT_ALLOWED, "%s takes %s", pattern, *allow);
    }
    return check_query(request, error);
}
