/* Pulls in the catalogue: the queue that nodes claim from, progress, and the one
 * transaction that makes an image visible.
 *
 *     queued ─claim► resolving ► fetching ► composing ─► done
 *        │  ▲            └───────────┴──────────┴──────► failed, cancelled
 *        │  └─── back: its node went, or a stricter wish joined too late
 *        └─────────────────────────────────────────────► cancelled
 *
 * or `done` from the start, when the image was here, or `failed`, when it may not be fetched.
 *
 * Every change of state goes through the functions here, and each but the first
 * names the node that runs the pull, so that a node that lost it changes nothing.
 * A pull whose node's heartbeat stopped may be claimed again. Thread-safe.
 */
#ifndef LARDER_STORE_CATALOGUE_PULLS_H
#define LARDER_STORE_CATALOGUE_PULLS_H

#include "store/catalogue/images.h"
#include "store/catalogue/nodes.h"
#include "store/digest.h"

enum pull_policy {
    PULL_IF_MISSING,
    PULL_ALWAYS,
    PULL_NEVER,
    PULL_LOAD, /* out of an archive that was sent to its node: nobody joins it or takes it over */
};
enum pull_state {
    PULL_QUEUED,
    PULL_RESOLVING,
    PULL_FETCHING,
    PULL_COMPOSING,
    PULL_DONE,
    PULL_FAILED,
    PULL_CANCELLED,
};

[[nodiscard]] const char *pull_policy_name(enum pull_policy policy);
[[nodiscard]] bool pull_policy_parse(const char *name, enum pull_policy *policy);
[[nodiscard]] const char *pull_state_name(enum pull_state state);
[[nodiscard]] bool pull_state_is_final(enum pull_state state);

struct pull_layer {
    const char *diff_id;
    const char *blob_digest;
    const char *media_type;
    const char *state; /* "waiting", "fetching", "done", "reused" */
    int64_t position;
    int64_t total_bytes; /* of the blob */
    int64_t received_bytes;
    int64_t tar_bytes; /* inflated so far */
};

struct pull {
    const char *id;        /* a UUID */
    const char *reference; /* canonical */
    const char *platform;  /* "linux/amd64" */
    enum pull_policy policy;
    bool force;
    bool cancel_requested; /* whoever runs it is to end it so */
    enum pull_state state;
    const char *node_id;         /* NULL while queued */
    const char *manifest_digest; /* NULL until it is resolved */
    int64_t created_at_ms;
    int64_t started_at_ms;  /* 0: not yet */
    int64_t finished_at_ms; /* 0: not yet */
    int64_t attempts;       /* how often a node took it up */
    bool has_error;
    struct error error;        /* when failed or cancelled */
    struct pull_layer *layers; /* bottom to top; empty until resolved */
    size_t layer_count;
};

struct pull_request {
    const struct reference *reference;
    const struct platform *platform;
    enum pull_policy policy;
    bool force;
};

/* Queues a pull, or joins the one that is under way for this reference and platform
 * (*joined); the stricter policy and force then hold for both: if it runs already without
 * them, it runs once more. One that only looks (PULL_NEVER) or is being cancelled is joined by
 * nobody. */
[[nodiscard]] bool catalogue_queue_pull(struct catalogue *catalogue,
                                        const struct pull_request *request, struct arena *arena,
                                        struct pull *pull, bool *joined, struct error *error);

/* The image that the pull asks for is here and whole: moves its last_used_at and records
 * the pull as done, in one statement. Fails with ERROR_IMAGE_NOT_FOUND when the image went
 * meanwhile. */
[[nodiscard]] bool catalogue_record_cached_pull(struct catalogue *catalogue, const char *node_id,
                                                const struct pull_request *request,
                                                const struct image_handle *image,
                                                struct arena *arena, struct pull *pull,
                                                struct error *error);

/* The pull may not fetch (PULL_NEVER) what is not here: records it as failed, for `why`. */
[[nodiscard]] bool catalogue_record_missing_pull(struct catalogue *catalogue, const char *node_id,
                                                 const struct pull_request *request,
                                                 const struct error *why, struct arena *arena,
                                                 struct pull *pull, struct error *error);

/* ERROR_PULL_NOT_FOUND, also for an id that is no UUID. */
[[nodiscard]] bool catalogue_find_pull(struct catalogue *catalogue, const char *id,
                                       struct arena *arena, struct pull *pull, struct error *error);

struct pull_page {
    struct pull *pulls; /* newest first */
    size_t count;
    const char *next_page_token;
};
[[nodiscard]] bool catalogue_list_pulls(struct catalogue *catalogue, size_t limit,
                                        const char *page_token, struct arena *arena,
                                        struct pull_page *page, struct error *error);

/* A queued pull, or one whose node is dead, is cancelled at once (*ended), a running one by
 * its node within a second; a finished one stays as it is. ERROR_PULL_NOT_FOUND. */
[[nodiscard]] bool catalogue_cancel_pull(struct catalogue *catalogue, const char *id, bool *ended,
                                         struct error *error);

/* --- for the node that runs pulls --- */

/* Of the pulls that run here: those that someone wants cancelled, or cancelled while this node was
 * taken for dead, and those that are this node's no more, because they ended or another has them.
 */
[[nodiscard]] bool catalogue_look_after_pulls(struct catalogue *catalogue, const char *node_id,
                                              const struct id_list *running, struct arena *arena,
                                              struct id_list *cancelled, struct id_list *lost,
                                              struct error *error);
/* Forgets pulls that ended, and nodes that died, a week ago. */
[[nodiscard]] bool catalogue_trim_history(struct catalogue *catalogue, struct error *error);

/* Takes the oldest pull that waits, or whose node is dead, once this one may judge that (nodes.h);
 * *claimed false: none. One that is to be cancelled is claimed, too, to be ended. */
[[nodiscard]] bool catalogue_claim_pull(struct catalogue *catalogue, const char *node_id,
                                        struct arena *arena, struct pull *pull, bool *claimed,
                                        struct error *error);

/* Records that the node has an archive with that image: a pull of policy PULL_LOAD, which it
 * runs (`resolving`). */
[[nodiscard]] bool catalogue_begin_load(struct catalogue *catalogue, const char *node_id,
                                        const struct reference *reference,
                                        const struct platform *platform, struct arena *arena,
                                        struct pull *pull, struct error *error);

/* The manifest is known: records its layers and moves on to `fetching`. */
[[nodiscard]] bool catalogue_pull_resolved(struct catalogue *catalogue, const char *node_id,
                                           const struct pull *pull, struct error *error);
[[nodiscard]] bool catalogue_pull_composing(struct catalogue *catalogue, const char *node_id,
                                            const char *pull_id, struct error *error);
/* Writes the byte counts of a running pull; nothing when it is this node's no more. */
[[nodiscard]] bool catalogue_pull_progress(struct catalogue *catalogue, const char *node_id,
                                           const char *pull_id, const struct pull_layer *layers,
                                           size_t layer_count, struct error *error);
/* Back to the queue, as if they had not been taken up, all (*count) that name the node and are not
 * among those that run there. A load fails by that, as when its node died. */
[[nodiscard]] bool catalogue_give_back_pulls(struct catalogue *catalogue, const char *node_id,
                                             const struct id_list *running, size_t *count,
                                             struct error *error);

/* Ends the pull as `failed`, or as `cancelled` when that is why. */
[[nodiscard]] bool catalogue_pull_failed(struct catalogue *catalogue, const char *node_id,
                                         const char *pull_id, const struct error *why,
                                         struct error *error);

/* What a layer file is, as the catalogue records it. */
struct layer_record {
    struct digest diff_id;
    int64_t erofs_size_bytes;
    struct digest erofs_digest;
    int64_t tar_size_bytes;
    int64_t allocated_bytes; /* what the file takes on the disk; 0: not measured */
};

/* What the catalogue knows of a layer that a pull needs. */
enum layer_hold {
    LAYER_BUILT,     /* by this pull, before another node took it over; held */
    LAYER_HELD,      /* catalogued; held for the pull from here on */
    LAYER_CONDEMNED, /* its file waits for the reaper, and may be rescued */
    LAYER_MISSING,
};

/* What follows is true only under a file's lock, and is written through its session
 * (file_lock.h). */

/* Holds the layer for the pull if it is catalogued. *record is filled unless it is
 * missing. Under the file's lock. */
[[nodiscard]] bool catalogue_hold_layer(struct catalogue_session *lock, const char *pull_id,
                                        const struct digest *diff_id, enum layer_hold *hold,
                                        struct layer_record *record, struct error *error);

/* Catalogues a layer whose file is whole and published (or rescued, `reused`), takes
 * it out of condemned_files and holds it for the pull. Under the file's lock. */
[[nodiscard]] bool catalogue_add_layer(struct catalogue_session *lock, const char *pull_id,
                                       const struct layer_record *record, bool reused,
                                       struct error *error);

/* Everything that makes the image visible. */
struct image_record {
    const struct reference *reference;
    const char *index_digest; /* NULL when the reference led to the manifest itself */
    const char *manifest_digest;
    const char *manifest_media_type;
    const void *manifest_bytes;
    size_t manifest_size_bytes;
    const char *config_digest;
    const void *config_bytes;
    size_t config_size_bytes;
    const char *config_detail_json;
    const struct platform *platform; /* the image's own */
    int64_t size_bytes;
    int64_t fsmeta_size_bytes;
    const char *fsmeta_digest;
    int64_t vmdk_size_bytes;
    const char *vmdk_digest;
    int64_t allocated_bytes;             /* of fsmeta and vmdk on the disk; 0: not measured */
    int64_t description_allocated_bytes; /* likewise */
    bool is_described_by_another;        /* platform of the reference, as it was before */
    const struct pull_layer *layers;
    size_t layer_count;
};

/* Condemns the files of an image that are about to be published: fsmeta and vmdk unless the
 * catalogue has them already, and the description of the reference, if not NULL. What is published
 * and never committed goes by itself; a description that another image of the reference needs is
 * written anew for that one. Under the locks of all three, which are kept until the commit. */
[[nodiscard]] bool catalogue_condemn_unborn(struct catalogue_session *lock,
                                            const char *manifest_digest,
                                            const struct reference *reference, struct error *error);
/* One transaction: config, manifest, layers, reference, condemned rows of its
 * files gone, pull `done`; or `queued` (*again), when somebody joined it with a policy or force
 * that *pull, as it was claimed, lacks. ERROR_PULL_CANCELLED, and nothing is written, when it was
 * cancelled or is this node's no more. Under the same locks. */
[[nodiscard]] bool catalogue_pull_done(struct catalogue_session *lock, const char *node_id,
                                       const struct pull *pull, const struct image_record *image,
                                       bool *again, struct error *error);

/* The registry names `digest` for the pull's reference now. When that is the manifest or
 * the index of `image` still (*confirmed): moves last_used_at and ends the pull as
 * catalogue_pull_done() does. */
[[nodiscard]] bool catalogue_confirm_pull(struct catalogue *catalogue, const char *node_id,
                                          const struct pull *pull, const struct image_handle *image,
                                          const char *digest, bool *confirmed, bool *again,
                                          struct error *error);

#endif
