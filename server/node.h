/* The node: everything that a request may need, made in order and taken down in
 * the reverse order. Its parts are thread-safe; the struct itself does not change
 * between node_start() and node_stop(), but for what is atomic. */
#ifndef LARDER_SERVER_NODE_H
#define LARDER_SERVER_NODE_H

#include "server/log.h"
#include "server/options.h"
#include "store/platform.h"

#include <stdatomic.h>

struct auth;
struct blobdir;
struct cache_lease;
struct cache_poller;
struct catalogue;
struct fence_gate;
struct periodic;
struct private_postgres;
struct puller;
struct read_cache;
struct reaper_thread;
struct registry_client;
struct tls;

enum { NODE_ID_SIZE = 36 + 1 };

struct node {
    const struct options *options;
    struct log log;
    char id[NODE_ID_SIZE];    /* a UUID, new at each start */
    struct platform platform; /* what is meant when nobody says */
    struct auth *auth;
    struct tls *tls;                   /* NULL: plain HTTP */
    struct private_postgres *postgres; /* NULL with --database */
    const char *conninfo;              /* of the catalogue */
    struct catalogue *catalogue;
    struct catalogue *starts; /* for registering sandboxes: planned once */
    struct read_cache *cache;
    struct cache_lease *lease;
    struct fence_gate *fence_gate;
    struct cache_poller *poller;
    struct blobdir *blobdir;
    struct registry_client *registry;
    struct puller *puller;
    struct reaper_thread *reaper;
    struct periodic *sweeper;
    struct periodic *scrubber; /* NULL: none is wanted */
    struct periodic *inventory;
    int64_t inventory_usual_us; /* what counting takes; its thread's own */
    atomic_size_t unread_bytes; /* of large answers on their way (request.c) */
    atomic_bool is_too_old;     /* for what the catalogue has become: it ends */
};

/* All that serving stands on: catalogue, files, cache. Call it from the main thread: a private
 * PostgreSQL ends with its thread. */
[[nodiscard]] bool node_start(struct node *node, const struct options *options,
                              struct error *error);
/* The work beside requests, once it is known where others reach the node (NULL: nowhere): from
 * here on it is one of GET /nodes. */
[[nodiscard]] bool node_start_work(struct node *node, const char *address, struct error *error);
void node_stop(struct node *node);

/* What commands that work on files and rows begin with, beside a running node or alone: the
 * catalogue (of a running node's private PostgreSQL, if that is it), the blob directory and the
 * registries, without any thread. On failure, too, node_stop() ends it. */
[[nodiscard]] bool node_open_store(struct node *node, const struct options *options,
                                   struct error *error);
/* Runs queued pulls from here on; `address` as above. */
[[nodiscard]] bool node_start_puller(struct node *node, const char *address, struct error *error);

/* What `larder serve` and `larder migrate` begin with: the data directory, the
 * private PostgreSQL unless there is a --database, the open catalogue with its
 * migrations applied. */
[[nodiscard]] bool node_open_catalogue(struct node *node, const struct options *options,
                                       struct error *error);

#endif
