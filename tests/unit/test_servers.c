/* Which of several PostgreSQL servers is tried, and in which order. */
#include "store/catalogue/servers.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct servers *of(const char *conninfo)
{
    struct error error = {0};
    struct servers *servers = servers_new(conninfo, &error);
    cr_assert_not_null(servers, "%s", error.message);
    return servers;
}

static const char *value_of(const struct server_conninfo *conninfo, const char *keyword)
{
    const char *value = NULL;
    for (size_t i = 0; i < conninfo->count; i++)
        if (strcmp(conninfo->keywords[i], keyword) == 0)
            value = conninfo->values[i];
    return value ? value : "-";
}

/* "host hostaddr port; …" of those that a walk tries. `hang`: all do. */
static const char *walk(struct servers *servers, struct servers_walk walk, bool hang)
{
    static char text[256];
    text[0] = '\0';
    for (;;) {
        struct server_conninfo conninfo = {0};
        if (!servers_next(servers, &walk, &conninfo))
            return text;
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%s%s %s %s", used > 0 ? "; " : "",
                 value_of(&conninfo, "host"), value_of(&conninfo, "hostaddr"),
                 value_of(&conninfo, "port"));
        hang ? servers_hangs(servers, walk.server) : servers_answers(servers, walk.server);
    }
}

static const char *by_others(struct servers *servers)
{
    return walk(servers, (struct servers_walk){0}, false);
}

static const char *by_heartbeat(struct servers *servers, bool hang)
{
    return walk(servers, (struct servers_walk){.is_heartbeat = true}, hang);
}

Test(servers, a_refusal_does_not_tell_the_password)
{
    static const char *const conninfos[] = {
        "postgresql://u:s3cret@[::1/d",
        "postgresql://u:s3%zzcret@h/d",
        "password='s3cret",
        "postgresql://u:s3/cret@h/d",
        "postgresql://u:s3@cret@h/d",
        "host=h password=s3cret port",
    };
    for (size_t i = 0; i < sizeof(conninfos) / sizeof(conninfos[0]); i++) {
        struct error error = {0};
        cr_assert_null(servers_new(conninfos[i], &error), "%s", conninfos[i]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT);
        cr_expect(strstr(error.message, "database's address"), "%s", error.message);
        cr_expect(!strstr(error.message, "s3") && !strstr(error.message, "cret@"), "%s",
                  error.message);
    }
    servers_free(of("host=@abstract,/run/postgresql,h port=5432"));
}

Test(servers, the_primary_comes_first_and_then_the_others_as_they_stand)
{
    static const struct {
        const char *conninfo;
        size_t primary;
        const char *order;
    } rows[] = {
        {"host=a,b,c port=1,2,3", 0, "a - 1; b - 2; c - 3"},
        {"host=a,b,c port=1,2,3", 1, "b - 2; c - 3; a - 1"},
        {"host=a,b,c port=1,2,3", 2, "c - 3; a - 1; b - 2"},
        {"postgresql://u@a:1,b:2/d", 1, "b - 2; a - 1"},
        {"postgresql://u@a,b/d", 1, "b - 5432; a - 5432"},
        {"host=a,b port=7", 1, "b - 7; a - 7"},
        {"hostaddr=10.0.0.1,10.0.0.2", 1, "- 10.0.0.2 -; - 10.0.0.1 -"},
        {"host=a,a hostaddr=10.0.0.1,10.0.0.2", 1, "a 10.0.0.2 -; a 10.0.0.1 -"},
        {"host=,b", 1, "b - -; - - -"},
        {"hostaddr=,10.0.0.2 host=a,b", 0, "a - -; b 10.0.0.2 -"},
        {"host=a,b hostaddr=''", 0, "a - -; b - -"},
        {"host=a port=1", 0, "a - 1"},
        {"dbname=d", 0, "- - -"},
        {"host=a,b port=1,2 service=s", 0, "a,b - 1,2"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct servers *servers = of(rows[i].conninfo);
        servers_put_first(servers, rows[i].primary);
        cr_expect_str_eq(by_others(servers), rows[i].order, "%s: %s", rows[i].conninfo,
                         by_others(servers));
        cr_expect_eq(servers_distrusts(servers), 0, "that is another's to say");
        servers_free(servers);
    }
}

Test(servers, the_environment_may_name_several)
{
    setenv("PGHOST", "a,b", 1);
    setenv("PGPORT", "1,2", 1);
    struct servers *servers = of("dbname=d sslmode=require");
    cr_expect_str_eq(by_others(servers), "a - 1; b - 2");
    struct servers_walk walk = {0};
    struct server_conninfo conninfo = {0};
    cr_expect(servers_next(servers, &walk, &conninfo));
    cr_expect_str_eq(value_of(&conninfo, "dbname"), "d");
    cr_expect_str_eq(value_of(&conninfo, "sslmode"), "require");
    servers_free(servers);
}

Test(servers, lists_that_do_not_fit_together_are_refused)
{
    static const char *const conninfos[] = {
        "host=a,b hostaddr=10.0.0.1",
        "host=a port=1,2",
        "host=a,b,c port=1,2",
        "hostaddr=10.0.0.1,10.0.0.2 port=1,2,3",
        "port=1,2",
        "hots=a",
        "host=,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,",
    };
    for (size_t i = 0; i < sizeof(conninfos) / sizeof(conninfos[0]); i++) {
        struct error error = {0};
        cr_expect_null(servers_new(conninfos[i], &error), "%s", conninfos[i]);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT);
        cr_expect(strstr(error.message, "the database's address"), "%s", error.message);
    }
}

Test(servers, one_that_hangs_is_tried_last)
{
    struct servers *servers = of("host=a,b,c");
    servers_hangs(servers, 0);
    cr_expect_str_eq(walk(servers, (struct servers_walk){0}, true), "b - -; c - -; a - -",
                     "once each, though all hang now");
    cr_expect_str_eq(by_others(servers), "a - -; b - -; c - -", "all the same");
    servers_free(servers);
}

Test(servers, one_that_hangs_is_left_to_the_heartbeat_if_there_is_one)
{
    struct servers *servers = of("host=a,b,c");
    servers_have_heartbeat(servers, true);
    servers_hangs(servers, 0);
    cr_expect_str_eq(by_others(servers), "b - -; c - -");
    cr_expect_str_eq(by_heartbeat(servers, true), "b - -; c - -; a - -");
    struct servers_walk others = {0};
    struct server_conninfo conninfo = {0};
    cr_expect_not(servers_next(servers, &others, &conninfo), "all hang");
    cr_expect_eq(others.left_out, 3);
    cr_expect_str_eq(by_heartbeat(servers, false), "a - -; b - -; c - -", "they say no");
    cr_expect_str_eq(by_others(servers), "a - -; b - -; c - -");
    servers_hangs(servers, 0);
    servers_have_heartbeat(servers, false);
    cr_expect_str_eq(by_others(servers), "b - -; c - -; a - -", "there is none any more");
    servers_free(servers);
}

Test(servers, one_that_hangs_is_replaced_once_another_one_is_the_primary)
{
    struct servers *servers = of("host=a,b");
    servers_put_first(servers, 0);
    servers_hangs(servers, 0);
    cr_expect_not(servers_is_replaced(servers, 0));
    servers_put_first(servers, 1);
    cr_expect(servers_is_replaced(servers, 0));
    cr_expect_not(servers_is_replaced(servers, 1));
    servers_answers(servers, 0);
    cr_expect_not(servers_is_replaced(servers, 0), "it only was slow");
    servers_free(servers);
}

Test(servers, one_that_hangs_and_stands_alone_is_tried_all_the_same)
{
    static const char *const conninfos[] = {"host=a", "dbname=d", "hostaddr=10.0.0.1 port=1",
                                            "host=a,b service=s"};
    for (size_t i = 0; i < sizeof(conninfos) / sizeof(conninfos[0]); i++) {
        struct servers *servers = of(conninfos[i]);
        servers_have_heartbeat(servers, true);
        servers_hangs(servers, 0);
        cr_expect_str_neq(by_others(servers), "", "%s", conninfos[i]);
        servers_free(servers);
    }
}
