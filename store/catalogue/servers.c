#include "store/catalogue/servers.h"

#include "store/catalogue/session_internal.h"

#include <assert.h>
#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { HANGS_FOR_MS = 30 * 1000 };

/* A list of libpq's: "a,b,c". */
struct list {
    char *text; /* owned; commas became NULs */
    const char **items;
    size_t count;
};

struct servers {
    PQconninfoOption *options; /* owned */
    struct list hosts;
    struct list addresses;
    struct list ports;
    size_t count; /* 1 for a conninfo that names none */
    atomic_size_t first;
    _Atomic int64_t hung_ms[SERVERS_MAX]; /* when it was last found to; 0: it answers */
    atomic_bool has_heartbeat;
    atomic_uint distrusts;
};

static void split(const char *text, struct list *list)
{
    size_t count = 1;
    for (const char *c = text; *c; c++)
        count += *c == ',';
    list->text = strdup(text);
    list->items = calloc(count, sizeof(*list->items));
    if (!list->text || !list->items)
        abort();
    char *at = list->text;
    while (at)
        list->items[list->count++] = strsep(&at, ",");
}

static struct list *list_of(struct servers *servers, const char *keyword)
{
    return strcmp(keyword, "host") == 0       ? &servers->hosts
           : strcmp(keyword, "hostaddr") == 0 ? &servers->addresses
           : strcmp(keyword, "port") == 0     ? &servers->ports
                                              : NULL;
}

static const char *value_of(const PQconninfoOption *option)
{
    return option->val || !option->envvar ? option->val : getenv(option->envvar);
}

static bool is_given(const char *value)
{
    return value && value[0];
}

/* False when a service file has the last word. */
static bool split_all(struct servers *servers)
{
    for (const PQconninfoOption *option = servers->options; option->keyword; option++) {
        struct list *list = list_of(servers, option->keyword);
        const char *value = value_of(option);
        if (strcmp(option->keyword, "service") == 0 && is_given(value))
            return false;
        if (list && is_given(value))
            split(value, list);
    }
    return true;
}

/* As libpq has it: a host for each address, and one port, or one for each. */
static bool count_all(struct servers *servers, struct error *error)
{
    const struct list *hosts = &servers->hosts;
    const struct list *addresses = &servers->addresses;
    servers->count = hosts->count > 0 ? hosts->count : addresses->count > 0 ? addresses->count : 1;
    if (hosts->count > 0 && addresses->count > 0 && hosts->count != addresses->count)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the database's address has %zu hosts and %zu hostaddr", hosts->count,
                         addresses->count);
    if (servers->ports.count > 1 && servers->ports.count != servers->count)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the database's address has %zu ports for %zu hosts", servers->ports.count,
                         servers->count);
    if (servers->count > SERVERS_MAX)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "the database's address has %zu hosts; at most %d are tried",
                         servers->count, SERVERS_MAX);
    return true;
}

/* A conninfo that libpq cannot parse is told now, not at the first request. What libpq quotes of it
 * may be the password. */
static bool parse(struct servers *servers, const char *conninfo, struct error *error)
{
    char *why = NULL;
    servers->options = PQconninfoParse(conninfo, &why);
    if (!servers->options)
        error_set(error, ERROR_INVALID_ARGUMENT, "the database's address is no libpq URI: %.*s%s",
                  why ? (int)strcspn(why, "\"\n") : 0, why ? why : "",
                  why && strchr(why, '"') ? "(a part that is not shown: it may be secret)" : "");
    PQfreemem(why);
    return servers->options;
}

/* Where a password's "@" or "/" ends up that is not percent-encoded: libpq would tell of it as of a
 * host's name or a port, and so would a log. */
static bool check_servers(const struct servers *servers, struct error *error)
{
    const char *odd = NULL;
    for (size_t i = 0; i < servers->hosts.count; i++) {
        const char *host = servers->hosts.items[i];
        if (host[0] && host[0] != '/' && strchr(host + 1, '@'))
            odd = "a host with \"@\" in its name";
    }
    for (size_t i = 0; i < servers->ports.count; i++) {
        const char *port = servers->ports.items[i];
        if (port[strspn(port, " \t+0123456789")])
            odd = "a port that is no number";
    }
    return !odd ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "the database's address has %s: in a password, write \"@\" as %%40 and "
                     "\"/\" as %%2F",
                     odd);
}

struct servers *servers_new(const char *conninfo, struct error *error)
{
    struct servers *servers = calloc(1, sizeof(*servers));
    if (!servers)
        abort();
    servers->count = 1;
    if (parse(servers, conninfo, error) &&
        (!split_all(servers) || (count_all(servers, error) && check_servers(servers, error))))
        return servers;
    servers_free(servers);
    return NULL;
}

static void list_free(struct list *list)
{
    free(list->items);
    free(list->text);
}

void servers_free(struct servers *servers)
{
    if (!servers)
        return;
    PQconninfoFree(servers->options);
    list_free(&servers->hosts);
    list_free(&servers->addresses);
    list_free(&servers->ports);
    free(servers);
}

void servers_have_heartbeat(struct servers *servers, bool is_there)
{
    atomic_store(&servers->has_heartbeat, is_there);
}

void server_conninfo_add(struct server_conninfo *conninfo, const char *keyword, const char *value)
{
    assert(conninfo->count + 1 < sizeof(conninfo->keywords) / sizeof(conninfo->keywords[0]));
    conninfo->keywords[conninfo->count] = keyword;
    conninfo->values[conninfo->count++] = value;
}

/* Empty in a list is libpq's default; alone it would be the environment's. */
static void add_item(struct server_conninfo *conninfo, const char *keyword, const struct list *list,
                     size_t server, const char *otherwise)
{
    if (list->count == 0)
        return;
    const char *item = list->items[list->count > 1 ? server : 0];
    server_conninfo_add(conninfo, keyword, item[0] ? item : otherwise);
}

/* What the conninfo says, but of its servers only that one. */
static void add_server(struct servers *servers, size_t server, struct server_conninfo *conninfo)
{
    for (const PQconninfoOption *option = servers->options; option->keyword; option++) {
        bool names_one = servers->count > 1 && list_of(servers, option->keyword);
        if (option->val && !names_one)
            server_conninfo_add(conninfo, option->keyword, option->val);
    }
    if (servers->count == 1)
        return;
    add_item(conninfo, "host", &servers->hosts, server, NULL);
    add_item(conninfo, "hostaddr", &servers->addresses, server, NULL);
    add_item(conninfo, "port", &servers->ports, server, "5432");
}

static bool hangs(const struct servers *servers, size_t server)
{
    int64_t hung_ms = atomic_load(&servers->hung_ms[server]);
    return hung_ms != 0 && monotonic_ms() < hung_ms + HANGS_FOR_MS;
}

static bool is_left_out(const struct servers *servers, struct servers_walk *walk, size_t server)
{
    if (!hangs(servers, server))
        return false;
    if (walk->turn <= servers->count)
        return true; /* it is tried after all others */
    bool is_heartbeats = atomic_load(&servers->has_heartbeat) && !walk->is_heartbeat;
    walk->left_out += is_heartbeats;
    return is_heartbeats;
}

bool servers_next(struct servers *servers, struct servers_walk *walk,
                  struct server_conninfo *conninfo)
{
    if (walk->turn == 0)
        walk->first = atomic_load(&servers->first);
    while (walk->turn < 2 * servers->count) { /* round twice */
        size_t server = (walk->first + walk->turn++) % servers->count;
        uint64_t bit = (uint64_t)1 << server;
        if ((walk->tried & bit) != 0 || is_left_out(servers, walk, server))
            continue;
        walk->tried |= bit;
        walk->server = server;
        add_server(servers, server, conninfo);
        return true;
    }
    return false;
}

void servers_hangs(struct servers *servers, size_t server)
{
    if (servers->count > 1)
        atomic_store(&servers->hung_ms[server], monotonic_ms());
}

void servers_answers(struct servers *servers, size_t server)
{
    if (atomic_load_explicit(&servers->hung_ms[server], memory_order_relaxed) != 0)
        atomic_store(&servers->hung_ms[server], 0);
}

void servers_put_first(struct servers *servers, size_t server)
{
    atomic_store(&servers->first, server);
}

bool servers_is_replaced(const struct servers *servers, size_t server)
{
    return hangs(servers, server) && atomic_load(&servers->first) != server;
}

void servers_distrust(struct servers *servers)
{
    atomic_fetch_add(&servers->distrusts, 1);
}

unsigned servers_distrusts(const struct servers *servers)
{
    return atomic_load(&servers->distrusts);
}
