/* The thread that counts what the catalogue holds (store/catalogue/inventory.h), so that
 * no scrape of /metrics ever asks PostgreSQL. It counts every five seconds, and less
 * often when counting takes long again and again: then for one part in 200 of its time. */
#ifndef LARDER_SERVER_INVENTORY_THREAD_H
#define LARDER_SERVER_INVENTORY_THREAD_H

#include "server/periodic.h"

struct node;

/* The node outlives it. */
[[nodiscard]] struct periodic *inventory_thread_start(struct node *node, struct error *error);

#endif
