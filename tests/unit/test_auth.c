#include "server/auth.h"
#include "server/node.h"
#include "server/routes.h"

#include <criterion/criterion.h>
#include <string.h>

/* Asks as an admin, as everybody is who asks a node with --no-auth. */
static bool admin_may(const struct route *route, struct error *error)
{
    const struct options options = {.no_auth = true};
    const struct peer peer = {0};
    struct node node = {.options = &options, .auth = auth_new(&options, error)};
    cr_assert_not_null(node.auth, "%s", error->message);
    struct request request = {.node = &node, .peer = &peer, .route = route};
    bool may = auth_check(&request, error);
    auth_free(node.auth);
    return may;
}

Test(auth, a_route_that_does_not_say_who_may_is_for_nobody)
{
    struct error error = {0};
    struct route route = {.method = "GET", .pattern = "/made-up", .role = ROLE_ADMIN};
    cr_expect(admin_may(&route, &error), "an admin may what is for admins");
    route.role = ROLE_UNSAID;
    cr_expect_not(admin_may(&route, &error), "and not what nobody thought about");
    cr_expect_eq(error.code, ERROR_FORBIDDEN, "%s", error.message);
    cr_expect(strstr(error.message, "GET /made-up is for the role nobody"), "%s", error.message);
}
