/* What a node gives up at its start, before it has threads: those inherit it. */
#ifndef LARDER_SERVER_PRIVILEGES_H
#define LARDER_SERVER_PRIVILEGES_H

#include "store/error.h"

/* No program that it starts can gain privileges (no_new_privs), and of root's capabilities
 * only those stay that it uses: to become PostgreSQL's user and the converter's, to give
 * them their files and to end them, to box the converter, to listen on low ports. A node
 * that is not root keeps none but the last. */
[[nodiscard]] bool privileges_drop(struct error *error);

#endif
