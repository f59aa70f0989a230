/* The puller: the threads of a node that run queued pulls, its heartbeat, the cleaning up after
 * dead nodes, and a watch over the directory.
 *
 * A pull is a row first (catalogue/pulls.h): whoever asks, on whichever node,
 * queues it, and any node's puller claims it. Stopping gives running pulls back
 * to the queue.
 */
#ifndef LARDER_STORE_PULLER_H
#define LARDER_STORE_PULLER_H

#include "store/blobdir.h"
#include "store/catalogue/pulls.h"
#include "store/registry/registry_client.h"

struct puller;
struct layer_budget;

struct puller_config {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    struct registry_client *registry;
    const char *node_id; /* a UUID; copied */
    const char *address; /* where others reach the node, for GET /nodes; NULL: nowhere; copied */
    const struct platform *default_platform;
    unsigned pull_jobs;
    unsigned layer_jobs; /* over all pulls: pull/layer_budget.h */
    uint64_t max_layer_bytes;
    uint64_t max_image_bytes;         /* of all layers' tars together */
    uint64_t max_inflate_ratio;       /* of tar to blob; 0: any */
    unsigned convert_timeout_seconds; /* of a layer, or of composing; 0: by max_layer_bytes */
    uint64_t max_archive_bytes;       /* uncompressed; of a load */
    unsigned max_image_layers;
    /* Called from the puller's threads: one line of what happened ("pull done"), as
     * a JSON object of fields. Never NULL. */
    void (*log)(void *context, const char *event, const struct pull *pull,
                const struct error *error, const char *detail);
    void *log_context; /* of both */
    /* Called from the heartbeat when the catalogue was migrated to what this larder cannot
     * work on; `detail` says so. Must not block. */
    void (*too_old)(void *context, const char *detail);
    struct layer_budget *layer_budget; /* the puller's own: NULL */
};

/* Registers the node and starts the threads. What it is given must outlive it. */
[[nodiscard]] struct puller *puller_start(const struct puller_config *config, struct error *error);

/* Asks for a pull. One of an image that is here and whole (unless the policy is `always`
 * or it is forced) is done at once, and one that may `never` ask the registry has failed at
 * once if it is not; else it is queued, or joins the one that runs for this reference and
 * platform. Any thread. */
[[nodiscard]] bool puller_submit(struct puller *puller, const struct pull_request *request,
                                 struct arena *arena, struct pull *pull, struct error *error);

/* `ended` is called, on a thread of the puller's, when a pull that ran or was cancelled
 * here may have ended. It must not block. NULL takes it away: when this returns, it runs
 * no more. */
void puller_on_end(struct puller *puller, void (*ended)(void *context, const char *pull_id),
                   void *context);

/* Cancels a pull, whichever node runs it. ERROR_PULL_NOT_FOUND. Any thread that may wait. */
[[nodiscard]] bool puller_cancel(struct puller *puller, const char *pull_id, struct error *error);

/* Ends all loads, and refuses further ones. Any thread. */
void puller_stop_loads(struct puller *puller);

/* Gives running pulls back, stops the threads, frees. NULL is fine. */
void puller_stop(struct puller *puller);

#endif
