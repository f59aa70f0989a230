/* The heartbeat that renews the read cache's lease: a thread that asks the catalogue what
 * changed, some times within --max-staleness, unless a fence just did. It has a connection
 * of its own, so that no burst of requests holds it up. It also trims the change log. */
#ifndef LARDER_SERVER_CACHE_POLLER_H
#define LARDER_SERVER_CACHE_POLLER_H

#include "server/node.h"

struct cache_poller;

/* Tries to have the lease before it returns, so that the first reads are answered from memory. */
[[nodiscard]] struct cache_poller *cache_poller_start(struct node *node, struct error *error);
/* NULL is fine. */
void cache_poller_stop(struct cache_poller *poller);

#endif
