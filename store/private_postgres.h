/* A PostgreSQL of the node's own, for when no --database is given: its data under
 * <data-dir>/postgres, on a local filesystem; reachable on a unix socket only; run as
 * an unprivileged user when the node is root; started again when it dies under the
 * node; stopped at exit. One that a killed node left behind is stopped and started
 * anew.
 */
#ifndef LARDER_STORE_PRIVATE_POSTGRES_H
#define LARDER_STORE_PRIVATE_POSTGRES_H

#include "store/cleanup.h"
#include "store/error.h"

struct private_postgres;

/* initdb once, start, wait until it answers. The directory (<data-dir>/postgres) is
 * made if it is missing, its parent is not. Two nodes on one directory: the second
 * fails with a sentence that says so. Call it from the main thread: PostgreSQL is
 * told to stop when the thread that started it ends. */
[[nodiscard]] struct private_postgres *private_postgres_start(const char *directory,
                                                              struct error *error);

/* The PostgreSQL that a running node has started on that directory, to be used beside it:
 * *postgres is NULL when no node runs on it. Stopping it leaves it to its node. */
[[nodiscard]] bool private_postgres_join(const char *directory, struct private_postgres **postgres,
                                         struct error *error);

/* The conninfo to reach it; lives as long as it does. */
[[nodiscard]] const char *private_postgres_conninfo(const struct private_postgres *postgres);

/* Fast shutdown, wait, free. NULL is fine. */
void private_postgres_stop(struct private_postgres *postgres);

#endif
