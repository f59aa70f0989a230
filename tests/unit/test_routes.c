#include "server/routes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Who may do what: one line a route. A new route comes with its line, and with a thought. */
static const struct {
    const char *method;
    const char *pattern;
    enum role role;
} expected[] = {
    {"GET", "/images/{reference}/inspect", ROLE_READER},
    {"GET", "/images/{reference}", ROLE_READER},
    {"DELETE", "/images/{reference}", ROLE_ADMIN},
    {"GET", "/images", ROLE_READER},
    {"POST", "/images:load", ROLE_ADMIN}, /* whose archive may give any name to anything */
    {"POST", "/images:prune", ROLE_ADMIN},
    {"POST", "/images:pull", ROLE_HOST},
    {"GET", "/pulls", ROLE_READER},
    {"GET", "/pulls/{id}/events", ROLE_READER},
    {"GET", "/pulls/{id}", ROLE_READER},
    {"DELETE", "/pulls/{id}", ROLE_ADMIN}, /* hosts share a pull: none may end another's */
    {"GET", "/sandboxes", ROLE_READER},
    {"DELETE", "/sandboxes", ROLE_HOST},
    {"PUT", "/sandboxes/{id}", ROLE_HOST},
    {"GET", "/sandboxes/{id}", ROLE_READER},
    {"DELETE", "/sandboxes/{id}", ROLE_HOST},
    {"POST", "/sandboxes:batch", ROLE_HOST},
    {"GET", "/snapshots", ROLE_READER},
    {"PUT", "/snapshots/{id}", ROLE_ADMIN},
    {"GET", "/snapshots/{id}", ROLE_READER},
    {"DELETE", "/snapshots/{id}", ROLE_ADMIN},
    {"GET", "/pins", ROLE_READER},
    {"PUT", "/pins/{reference}", ROLE_ADMIN},
    {"DELETE", "/pins/{reference}", ROLE_ADMIN},
    {"GET", "/nodes", ROLE_READER},
    {"GET", "/layers/{diff_id}", ROLE_READER},
    {"GET", "/manifests/{digest}/fsmeta", ROLE_READER},
    {"GET", "/manifests/{digest}/vmdk", ROLE_READER},
    {"GET", "/healthz", ROLE_ANYBODY},
    {"GET", "/readyz", ROLE_ANYBODY},
    {"GET", "/version", ROLE_READER},
    {"GET", "/metrics", ROLE_READER},
    {"GET", "/openapi.yaml", ROLE_READER},
    {"GET", "/openapi.json", ROLE_READER},
    {"GET", "/ui", ROLE_ANYBODY}, /* a page asks for the token: its files hold no data */
    {"GET", "/ui/{file}", ROLE_ANYBODY},
};
enum { EXPECTED_COUNT = sizeof(expected) / sizeof(expected[0]) };

static enum role expected_role(const struct route *route)
{
    for (size_t i = 0; i < EXPECTED_COUNT; i++)
        if (strcmp(expected[i].method, route->method) == 0 &&
            strcmp(expected[i].pattern, route->pattern) == 0)
            return expected[i].role;
    return ROLE_UNSAID;
}

Test(routes, each_says_who_may_use_it)
{
    unsigned count = 0;
    const struct route *route;
    for (; (route = route_of_number(count + 1)); count++) {
        enum role role = expected_role(route);
        cr_expect_neq(role, ROLE_UNSAID, "%s %s is not in this test's list", route->method,
                      route->pattern);
        cr_expect_eq(route->role, role, "%s %s is for %s", route->method, route->pattern,
                     role_name(route->role));
    }
    cr_expect_eq(count, EXPECTED_COUNT, "each line of the list has its route");
}

Test(routes, nothing_but_a_look_is_for_readers)
{
    const struct route *route;
    for (unsigned number = 1; (route = route_of_number(number)); number++)
        if (strcmp(route->method, "GET") != 0)
            cr_expect_geq((int)route->role, (int)ROLE_HOST, "%s %s", route->method, route->pattern);
}

Test(routes, those_of_one_pattern_stand_beside_each_other)
{
    /* route_find() looks no further. */
    for (unsigned i = 1; route_of_number(i); i++)
        for (unsigned k = i + 2; route_of_number(k); k++)
            cr_expect(strcmp(route_of_number(i)->pattern, route_of_number(k)->pattern) != 0 ||
                          strcmp(route_of_number(i)->pattern, route_of_number(k - 1)->pattern) == 0,
                      "%s %s stands apart", route_of_number(k)->method,
                      route_of_number(k)->pattern);
}
