/* The thread that counts what the catalogue holds (store/catalogue/inventory.h), so that
 * no scrape of /metrics ever asks PostgreSQL. It counts every five seconds, and less
 * often when counting takes long: never more than one part in 200 of its time. */
#ifndef LARDER_SERVER_INVENTORY_THREAD_H
#define LARDER_SERVER_INVENTORY_THREAD_H

#include "server/log.h"
#include "store/error.h"

struct catalogue;
struct inventory_thread;

/* What it is given must outlive it. */
[[nodiscard]] struct inventory_thread *
inventory_thread_start(struct catalogue *catalogue, const struct log *log, struct error *error);

/* Joins, frees. NULL is fine. */
void inventory_thread_stop(struct inventory_thread *inventory);

#endif
