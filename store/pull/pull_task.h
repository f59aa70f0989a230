/* One pull that runs on this node, and its steps. Only for the files of this folder
 * (and puller.c's threads):
 *
 *     resolve ► layers ──► publish all ► commit
 *                  └► compose ──┘
 *
 * fsmeta, vmdk and description are composed of layer files that are complete, while the last of
 * them is made durable.
 */
#ifndef LARDER_STORE_PULL_PULL_TASK_H
#define LARDER_STORE_PULL_PULL_TASK_H

#include "store/pull/layer_budget.h"
#include "store/puller.h"
#include "store/registry/image_config.h"
#include "store/registry/manifest.h"
#include "store/registry/registry_client.h"

#include <pthread.h>
#include <stdatomic.h>

/* A layer that the image needs, once however often it stands in the manifest. */
struct task_layer {
    struct digest diff_id;
    const struct manifest_layer *source; /* the first blob that leads to it */
    struct layer_record record;          /* once its file is there */
    int draft_fd; /* of the fetch: its file, complete and not yet published; else -1 */
    atomic_ullong received_bytes;
    atomic_ullong tar_bytes;
};

/* A file of the image; whole and durable once all are COMPOSED. */
struct image_file {
    struct blob_draft *draft; /* NULL: there is none */
    uint64_t size_bytes;
    const char *digest; /* file_digest.h, as text */
};

/* The files that an image has besides its layers, made of them. */
struct composed {
    enum { NOT_COMPOSED, COMPOSED, COMPOSING_FAILED } state;
    struct error error; /* why it failed */
    struct image_file fsmeta;
    struct image_file vmdk;
    struct blob_draft *description;
    int *layer_fds; /* what they were made of, still open: as many layers as could be opened */
    size_t layer_fd_count;
};

struct pull_task;
struct pull_fetch;

/* Streams a blob of the task's manifest into the sink, as registry_fetch_blob() does. */
typedef bool pull_blob_fetcher(struct pull_task *task, const struct manifest_layer *layer,
                               registry_sink *sink, void *context, struct error *error);

struct pull_task {
    const struct puller_config *config; /* the puller's */
    struct arena arena;                 /* what the steps learn; the pull thread's */
    struct pull pull;
    struct reference reference;
    struct platform wanted;
    atomic_bool stop;      /* ends every step within a second, for whatever reason */
    atomic_bool cancelled; /* that reason: somebody asked for it */
    bool again;            /* it ended well, but not as strictly as somebody wants it now */

    struct pull_task *next_running; /* the puller's, who guards it */

    /* set by a load: where its blobs come from instead of the registry */
    pull_blob_fetcher *fetch_blob; /* NULL: from the registry */
    const void *blobs;             /* fetch_blob's own */
    const void *load;              /* the same for all tasks that a cancel of one ends */

    /* set by pull_resolve, or by a load */
    bool is_from_index;
    char index_digest[DIGEST_TEXT_SIZE];
    struct digest manifest_digest;
    struct registry_document manifest_bytes;
    struct registry_document config_bytes;
    struct manifest_document manifest;
    struct image_config image_config;
    struct platform platform;  /* the image's own */
    size_t *layer_of_position; /* position in the manifest to index in `layers` */
    struct task_layer *layers;
    size_t layer_count;
    /* What a description in the blob directory says of layer files; the catalogue lost it. */
    struct layer_record *remembered;
    size_t remembered_count;
    struct layer_share share; /* of the node's layers that are built at once */

    struct pull_fetch *fetch; /* while pull_fetch_layers() runs */
    struct composed
        composed; /* from pull_compose_files() to the end of pull_compose() or the task */
};

/* Can the request be answered without the registry? Because the image is here with every
 * file it needs, or because the policy is never to ask. Then *answered, and *pull is the
 * record of it. */
[[nodiscard]] bool pull_answer_from_cache(const struct puller_config *config,
                                          const struct pull_request *request, struct arena *arena,
                                          struct pull *pull, bool *answered, struct error *error);

/* The policy is `always`: is the image here, whole, and still what the registry names? Then
 * the pull is done (*confirmed). It costs one HEAD, and nothing when the image is not here. */
[[nodiscard]] bool pull_confirm(struct pull_task *task, bool *confirmed, struct error *error);

/* Logs a step that is done: what it was about, and how long it took. Any thread. */
[[nodiscard]] int64_t pull_step_begin(void);
void pull_step_done(const struct pull_task *task, const char *event, int64_t begun_ms,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Takes manifest and config as the catalogue has them for this reference and platform, for an
 * image that is here and lost files; or as a description in the blob directory has them that the
 * catalogue lost. */
[[nodiscard]] bool pull_recall(struct pull_task *task, bool *recalled, struct error *error);

/* Manifest, config, and which layers: recalled, or else asked of the registry. */
[[nodiscard]] bool pull_resolve(struct pull_task *task, struct error *error);

/* The second half of it, for who has the documents already: lists the layers and records
 * them. */
[[nodiscard]] bool pull_record_resolution(struct pull_task *task, struct error *error);

/* What can be done while the last layers are made durable. */
typedef void pull_when_complete(struct pull_task *task);

/* Makes every layer file be there, `layer_jobs` at a time, and held for the pull. Calls
 * when_complete (may be NULL), once, as soon as pull_open_layer() opens all of them; then it may
 * yet fail. */
[[nodiscard]] bool pull_fetch_layers(struct pull_task *task, pull_when_complete *when_complete,
                                     struct error *error);

/* Makes one layer file be there: reuses it, rescues it, or fetches and converts it. */
[[nodiscard]] bool pull_layer(struct pull_task *task, struct task_layer *layer,
                              struct error *error);
/* Told by pull_layer(): every byte of the file is there and right, though perhaps not on the disk.
 * The draft_fd is taken over; -1: it has its name. */
void pull_layer_is_complete(struct pull_task *task, struct task_layer *layer, int draft_fd);
/* And then: it has its name. */
void pull_layer_is_published(struct pull_task *task, struct task_layer *layer);
/* The layer's file, complete, for reading: an fd, or -1. */
[[nodiscard]] int pull_open_layer(struct pull_task *task, struct task_layer *layer,
                                  struct error *error);

/* Composes the files of the image into durable drafts: task->composed, which also says why not. */
void pull_compose_files(struct pull_task *task);
/* Whether they are still there, and the layer files are those that they were made of. */
[[nodiscard]] bool pull_are_files_current(struct pull_task *task, struct error *error);
/* Removes the drafts, if there are any. */
void pull_forget_files(struct pull_task *task);

/* Reads all layer files of the task, and puts those aside that are not as they were recorded.
 * *found: there are such, or another pull builds one anew: fetch the layers again. */
[[nodiscard]] bool pull_put_damaged_aside(struct pull_task *task, bool *found, struct error *error);

/* fsmeta, vmdk and description, published; then the image committed. A layer file that is found to
 * be damaged is put aside and built anew; what was made of a file that is another by then, or was
 * cleared away, is made again. Three attempts in all. */
[[nodiscard]] bool pull_compose(struct pull_task *task, struct error *error);

/* Writes the JSON of manifests/<hex>.json: what microsandbox's cache keeps of an image. */
[[nodiscard]] bool pull_describe_image(struct pull_task *task, int fd, struct error *error);

/* Does a pull that ends for that reason leave nothing, not even its finished layers? They are
 * kept for a retry where one may help: the registry or the network was the reason. So are those
 * that a lost catalogue's description told of: they may be nowhere else. */
[[nodiscard]] bool pull_leaves_nothing(const struct pull_task *task, enum error_code why);

/* Takes away what the pull held and nothing else reaches, so that the directory is as it was
 * before. The pull runs here and is about to end, or has ended. */
[[nodiscard]] bool pull_leave_nothing(const struct puller_config *config, const char *pull_id,
                                      struct error *error);

/* Returns once the directory answers, whatever it says. */
void pull_ask_directory(const struct puller_config *config);

/* Clears away what killed nodes left under tmp/. What fails is logged, and done by the next call.
 * Waits for the directory, also for one that hangs. */
void pull_clean_dead_nodes(const struct puller_config *config);

/* All steps, for a pull that was claimed. */
[[nodiscard]] bool pull_run(struct pull_task *task, struct error *error);

/* --- of the puller, for who runs tasks on a thread of its own --- */

[[nodiscard]] const struct puller_config *puller_config(const struct puller *puller);

/* Around a call that makes a row this node's and the showing of its task: a row without a task
 * is given back to the queue. */
void puller_begin_taking(struct puller *puller);
void puller_end_taking(struct puller *puller);

/* Lets cancels and the puller's end reach the task, until it is hidden again: when its end is
 * written down, or cannot be. */
void puller_show(struct puller *puller, struct pull_task *task);
void puller_hide(struct puller *puller, struct pull_task *task);

/* Stops those that run here and are cancelled on another node, or were taken over by one. */
void puller_look_after(struct puller *puller);

/* Loads are to end (puller_stop_loads). */
[[nodiscard]] bool puller_are_loads_stopping(struct puller *puller);

void puller_log(const struct puller *puller, const char *event, const struct pull *pull,
                const struct error *error, const char *detail);
void puller_tell_end(struct puller *puller, const char *pull_id);

#endif
