/* Nodes: their rows, their heartbeats, and what dead ones leave. */
#ifndef LARDER_STORE_CATALOGUE_NODES_H
#define LARDER_STORE_CATALOGUE_NODES_H

#include "store/catalogue/catalogue.h"

/* A node whose heartbeat is fresh. In the arena; times in milliseconds. */
struct node_row {
    const char *id;
    const char *hostname;
    const char *version;
    const char *address; /* NULL: none that others reach */
    const char *load;    /* a JSON number: cores kept busy; NULL: not known yet */
    int64_t running_pulls;
    int64_t started_at_ms;
    int64_t heartbeat_age_ms;
};

/* Registers the node, or renews its heartbeat. `address`: NULL is none that others reach. */
[[nodiscard]] bool catalogue_register_node(struct catalogue *catalogue, const char *node_id,
                                           const char *address, struct error *error);
/* A heartbeat. *is_too_old: the catalogue was migrated to what this larder cannot work on. */
[[nodiscard]] bool catalogue_beat_node(struct catalogue *catalogue, const char *node_id,
                                       const char *address, double load, bool *is_too_old,
                                       struct error *error);
/* The nodes that live, oldest first. */
[[nodiscard]] bool catalogue_list_nodes(struct catalogue *catalogue, struct arena *arena,
                                        struct node_row **nodes, size_t *count,
                                        struct error *error);

/* Ends what connections dead nodes still seem to have, so that they hold no locks. Nothing before
 * the node `judge` has beaten for 10 s without a break. */
[[nodiscard]] bool catalogue_disconnect_dead_nodes(struct catalogue *catalogue, const char *judge,
                                                   struct error *error);
/* Of those given, the nodes whose heartbeat stopped, and those that are not registered: they died
 * long ago, or are about to start. `judge`: as above; NULL is somebody who knows that the
 * catalogue was not away. */
[[nodiscard]] bool catalogue_dead_nodes(struct catalogue *catalogue, const char *judge,
                                        char *const *node_ids, struct arena *arena,
                                        struct id_list *dead, struct id_list *unknown,
                                        struct error *error);
/* Gives back what it runs to the queue and unregisters. */
[[nodiscard]] bool catalogue_leave_node(struct catalogue *catalogue, const char *node_id,
                                        struct error *error);

#endif
