#include "store/catalogue/servers.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A list of libpq's: "a,b,c". */
struct list {
    char *text; /* owned; commas became NULs */
    const char **items;
    size_t count;
};

struct servers {
    struct list hosts;
    struct list addresses;
    struct list ports;
    size_t count; /* fewer than two: there is no order */
    atomic_size_t first;
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

static const char *item(const struct list *list, size_t index)
{
    return index < list->count ? list->items[index] : "";
}

/* The same list, beginning with its `first`; NULL for one that names all servers at once. */
static char *join_from(const struct list *list, size_t first)
{
    if (list->count < 2)
        return NULL;
    char *joined = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&joined, &size);
    if (!out)
        abort();
    for (size_t i = 0; i < list->count; i++)
        fprintf(out, "%s%s", i > 0 ? "," : "", item(list, (first + i) % list->count));
    if (fclose(out) != 0)
        abort();
    return joined;
}

struct servers *servers_new(const char *conninfo)
{
    struct servers *servers = calloc(1, sizeof(*servers));
    PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
    if (!servers)
        abort();
    for (PQconninfoOption *option = options; option && option->keyword; option++) {
        struct list *list = strcmp(option->keyword, "host") == 0       ? &servers->hosts
                            : strcmp(option->keyword, "hostaddr") == 0 ? &servers->addresses
                            : strcmp(option->keyword, "port") == 0     ? &servers->ports
                                                                       : NULL;
        if (list && option->val)
            split(option->val, list);
    }
    PQconninfoFree(options);
    servers->count = servers->hosts.count > servers->addresses.count ? servers->hosts.count
                                                                     : servers->addresses.count;
    return servers;
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
    list_free(&servers->hosts);
    list_free(&servers->addresses);
    list_free(&servers->ports);
    free(servers);
}

void servers_order(struct servers *servers, struct servers_order *order)
{
    size_t first = atomic_load(&servers->first);
    *order = (struct servers_order){.host = join_from(&servers->hosts, first),
                                    .hostaddr = join_from(&servers->addresses, first),
                                    .port = join_from(&servers->ports, first)};
}

void servers_order_end(struct servers_order *order)
{
    free(order->host);
    free(order->hostaddr);
    free(order->port);
}

/* Whether the list may mean `given` there: an item that is empty is libpq's default. */
static bool fits(const struct list *list, size_t index, const char *given)
{
    return list->count < 2 || !item(list, index)[0] ||
           strcmp(item(list, index), given ? given : "") == 0;
}

/* Its place in the list; `count` for one that has none. */
static size_t find(const struct servers *servers, const char *host, const char *port)
{
    const struct list *names = servers->hosts.count > 0 ? &servers->hosts : &servers->addresses;
    size_t i = 0;
    while (i < servers->count && !(fits(names, i, host) && fits(&servers->ports, i, port)))
        i++;
    return i;
}

void servers_put_last(struct servers *servers, const char *host, const char *port)
{
    size_t place = find(servers, host, port);
    if (place < servers->count)
        atomic_store(&servers->first, (place + 1) % servers->count);
}

void servers_put_first(struct servers *servers, const char *host, const char *port)
{
    size_t place = find(servers, host, port);
    if (place < servers->count)
        atomic_store(&servers->first, place);
}

void servers_distrust(struct servers *servers)
{
    atomic_fetch_add(&servers->distrusts, 1);
}

unsigned servers_distrusts(const struct servers *servers)
{
    return atomic_load(&servers->distrusts);
}
