/* Which of several PostgreSQL servers is tried first. */
#include "store/catalogue/servers.h"

#include <criterion/criterion.h>

struct expectation {
    const char *conninfo;
    const char *silent_host;
    const char *silent_port;
    struct {
        const char *host;
        const char *hostaddr;
        const char *port;
    } order; /* afterwards */
};

static void expect_same(const char *conninfo, const char *given, const char *wanted)
{
    if (given && wanted)
        cr_expect_str_eq(given, wanted, "%s: %s", conninfo, given);
    else
        cr_expect_eq(given, wanted, "%s: %s", conninfo, given ? given : "nothing");
}

Test(servers, one_that_did_not_answer_comes_last)
{
    static const struct expectation rows[] = {
        {"host=a,b,c port=1,2,3", "a", "1", {.host = "b,c,a", .port = "2,3,1"}},
        {"host=a,b,c port=1,2,3", "b", "2", {.host = "c,a,b", .port = "3,1,2"}},
        {"host=a,b,c port=1,2,3", "c", "3", {.host = "a,b,c", .port = "1,2,3"}},
        {"host=a,a port=1,2", "a", "1", {.host = "a,a", .port = "2,1"}},
        {"postgresql://u@a:1,b:2/d", "a", "1", {.host = "b,a", .port = "2,1"}},
        {"postgresql://u@a,b/d", "a", "5432", {.host = "b,a", .port = ","}},
        {"host=a,b port=7", "a", "7", {.host = "b,a", .port = NULL}},
        {"hostaddr=10.0.0.1,10.0.0.2", "10.0.0.1", "5432", {.hostaddr = "10.0.0.2,10.0.0.1"}},
        {"host=a,b hostaddr=10.0.0.1,10.0.0.2",
         "a",
         "5432",
         {.host = "b,a", .hostaddr = "10.0.0.2,10.0.0.1"}},
        {"host=,b", "", "5432", {.host = "b,"}},
        {"host=a,b", "x", "5432", {.host = "a,b"}},
        {"host=a port=1", "a", "1", {.host = NULL}},
        {"dbname=d", NULL, NULL, {.host = NULL}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_servers_order struct servers_order order;
        struct servers *servers = servers_new(rows[i].conninfo);
        servers_put_last(servers, rows[i].silent_host, rows[i].silent_port);
        servers_order(servers, &order);
        expect_same(rows[i].conninfo, order.host, rows[i].order.host);
        expect_same(rows[i].conninfo, order.hostaddr, rows[i].order.hostaddr);
        expect_same(rows[i].conninfo, order.port, rows[i].order.port);
        cr_expect_eq(servers_distrusts(servers), 0, "that is another's to say");
        servers_free(servers);
    }
}

Test(servers, the_primary_comes_first)
{
    struct servers *servers = servers_new("host=a,b,c port=1,2,3");
    servers_put_last(servers, "a", "1");
    servers_put_first(servers, "c", "3");
    servers_put_first(servers, "x", "1"); /* none of them */
    cleanup_servers_order struct servers_order order;
    servers_order(servers, &order);
    cr_expect_str_eq(order.host, "c,a,b");
    cr_expect_str_eq(order.port, "3,1,2");
    servers_free(servers);
}
