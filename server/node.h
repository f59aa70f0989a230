/* The node: everything that a request may need, made in order and taken down in
 * the reverse order. Its parts are thread-safe; the struct itself does not change
 * between node_start() and node_stop(). */
#ifndef LARDER_SERVER_NODE_H
#define LARDER_SERVER_NODE_H

#include "server/log.h"
#include "server/options.h"

struct node {
    const struct options *options;
    struct log log;
};

[[nodiscard]] bool node_start(struct node *node, const struct options *options,
                              struct error *error);
void node_stop(struct node *node);

#endif
