#include "store/load.h"

#include "store/load/archive_images.h"
#include "store/load/load_task.h"
#include "store/pull/pull_task.h"

#include <string.h>

struct load {
    struct puller *puller;
    const struct puller_config *config; /* the puller's */
    struct arena arena;
    struct blob_draft *draft; /* owned; holds the unpacked archive */
    struct archive archive;
    struct archive_images images;
    struct pull_task *tasks; /* one for each image; in the arena */
    size_t begun_count;      /* of them have a row of their own */
    size_t done_count;       /* of them are committed */
};

/* Nothing is wrong with the archive: it may be sent again, to this node or another. */
static bool refuse_for_now(const char *why, struct error *error)
{
    error_set(error, ERROR_CATALOGUE_UNAVAILABLE, "this node %s; send the archive again", why);
    error->retry_after_seconds = 1;
    return false;
}

/* What a load that stands in the way of the node's end is told. */
static bool refuse_stopping(struct error *error)
{
    return refuse_for_now("is being stopped", error);
}

/* The body, for as long as the node runs. */
struct guarded_body {
    const struct tar_source *body;
    struct puller *puller;
};

static bool next_guarded(void *context, const void **bytes, size_t *size_bytes, struct error *error)
{
    struct guarded_body *guarded = context;
    if (puller_are_loads_stopping(guarded->puller))
        return refuse_stopping(error);
    return guarded->body->next(guarded->body->context, bytes, size_bytes, error);
}

static bool unpack(struct load *load, const struct tar_source *body, struct error *error)
{
    struct guarded_body guarded = {body, load->puller};
    const struct tar_source source = {next_guarded, &guarded};
    const struct archive_limits limits = {
        .max_archive_bytes = load->config->max_archive_bytes,
        .max_member_bytes = load->config->max_layer_bytes,
    };
    load->draft = blob_scratch_new(load->config->blobdir, error);
    return load->draft && archive_unpack(&source, &limits, blob_draft_fd(load->draft), &load->arena,
                                         &load->archive, error);
}

static bool list_images(struct load *load, const struct load_request *request, struct error *error)
{
    const struct archive_choice choice = {
        .reference = request->reference,
        .platform = request->platform,
        .max_layers = load->config->max_image_layers,
    };
    if (!archive_list_images(&load->archive, &choice, &load->arena, &load->images, error))
        return false;
    load->tasks = arena_alloc_array(&load->arena, load->images.count, sizeof(*load->tasks));
    return true;
}

static bool begin_pull(struct load *load, struct pull_task *task, struct error *error)
{
    task->load = load;
    puller_begin_taking(load->puller);
    bool begun =
        catalogue_begin_load(load->config->catalogue, load->config->node_id, &task->reference,
                             &task->platform, &task->arena, &task->pull, error);
    if (begun)
        puller_show(load->puller, task);
    puller_end_taking(load->puller);
    return begun;
}

/* One that is cancelled takes the others along: they were asked for together. Those that are done
 * look like it: the catalogue has nothing left to run of them. */
static bool check_cancelled(const struct load *load, struct error *error)
{
    for (size_t i = load->done_count; i < load->begun_count; i++)
        if (atomic_load(&load->tasks[i].stop))
            return error_set(error, ERROR_PULL_CANCELLED, "the load was cancelled");
    return true;
}

/* Gives each image its row, which holds the layers as they come. */
static bool begin_pulls(struct load *load, struct error *error)
{
    for (size_t i = 0; i < load->images.count; i++) {
        struct pull_task *task = &load->tasks[i];
        load_task_fill(task, load->config, &load->archive, &load->images.images[i]);
        if (!check_cancelled(load, error) || !begin_pull(load, task, error))
            return false;
        load->begun_count++;
        if (!pull_record_resolution(task, error))
            return false;
    }
    return true;
}

static bool build_layers(struct load *load, struct error *error)
{
    for (size_t i = 0; i < load->begun_count; i++)
        if (!check_cancelled(load, error) || !pull_fetch_layers(&load->tasks[i], NULL, error))
            return false;
    return true;
}

static bool commit_images(struct load *load, struct error *error)
{
    for (size_t i = 0; i < load->begun_count; i++) {
        struct pull_task *task = &load->tasks[i];
        if (!check_cancelled(load, error) || !pull_compose(task, error))
            return false;
        load->done_count++;
        puller_hide(load->puller, task);
        puller_log(load->puller, "image loaded", &task->pull, NULL, NULL);
        puller_tell_end(load->puller, task->pull.id);
    }
    return true;
}

static bool is_asked_for(const struct load *load)
{
    for (size_t i = 0; i < load->begun_count; i++)
        if (atomic_load(&load->tasks[i].cancelled))
            return true;
    return false;
}

/* Whether other nodes took this one for dead, and ended what it was to load. */
static bool is_lost(const struct load *load)
{
    for (size_t i = load->done_count; i < load->begun_count; i++)
        if (atomic_load(&load->tasks[i].stop) && !atomic_load(&load->tasks[i].cancelled))
            return true;
    return false;
}

/* The archive is the sender's: what is wrong in it is no registry's fault. */
static void explain(const struct load *load, struct error *error)
{
    bool is_unasked = error->code == ERROR_PULL_CANCELLED && !is_asked_for(load);
    if (is_unasked && puller_are_loads_stopping(load->puller))
        (void)refuse_stopping(error);
    else if (is_unasked && is_lost(load))
        (void)refuse_for_now("did not answer for so long that it was taken for dead", error);
    if (error->code == ERROR_DIGEST_MISMATCH) {
        error->code = ERROR_INVALID_ARGUMENT;
        (void)error_context(error, "the archive is damaged");
    }
    if (load->done_count > 0)
        (void)error_context(error, "%zu of the archive's %zu images are loaded; then",
                            load->done_count, load->images.count);
}

/* An end that cannot be written down now is found once the catalogue is back: a row that nobody
 * runs. */
static void end_pull(struct load *load, struct pull_task *task, const struct error *why)
{
    const struct puller_config *config = load->config;
    struct error error;
    if (!pull_leave_nothing(config, task->pull.id, &error))
        puller_log(load->puller, "what the load built stays until a prune", &task->pull, &error,
                   NULL);
    (void)catalogue_pull_failed(config->catalogue, config->node_id, task->pull.id, why, &error);
    puller_hide(load->puller, task);
    puller_log(load->puller, "load failed", &task->pull, why, NULL);
    puller_tell_end(load->puller, task->pull.id);
}

static void fail(struct load *load, struct error *error)
{
    /* PostgreSQL may have said so before the next look was due. */
    if (error->code == ERROR_PULL_CANCELLED && !is_asked_for(load))
        puller_look_after(load->puller);
    explain(load, error);
    for (size_t i = load->done_count; i < load->begun_count; i++)
        end_pull(load, &load->tasks[i], error);
}

static void free_load(struct load *load)
{
    for (size_t i = 0; i < load->images.count && load->tasks; i++)
        arena_free(&load->tasks[i].arena);
    blob_draft_free(load->draft);
    arena_free(&load->arena);
}

/* One that was removed this moment is no part of the answer. */
static bool find_images(const struct load *load, struct arena *arena, struct load_result *result,
                        struct error *error)
{
    *result = (struct load_result){
        .images = arena_alloc_array(arena, load->images.count, sizeof(*result->images))};
    for (size_t i = 0; i < load->images.count; i++) {
        const struct pull_task *task = &load->tasks[i];
        const struct platform_choice choice = {.wanted = &task->platform,
                                               .preferred = load->config->default_platform};
        if (catalogue_find_image(load->config->catalogue, &task->reference, &choice, arena,
                                 &result->images[result->count], error))
            result->count++;
        else if (error->code != ERROR_IMAGE_NOT_FOUND && error->code != ERROR_PLATFORM_NOT_FOUND)
            return false;
    }
    return true;
}

bool load_archive(struct puller *puller, const struct load_request *request,
                  const struct tar_source *body, struct arena *arena, struct load_result *result,
                  struct error *error)
{
    struct load load = {.puller = puller, .config = puller_config(puller)};
    bool done = unpack(&load, body, error) && list_images(&load, request, error) &&
                begin_pulls(&load, error) && build_layers(&load, error) &&
                commit_images(&load, error);
    if (!done)
        fail(&load, error);
    done = done && find_images(&load, arena, result, error);
    free_load(&load);
    return done;
}
