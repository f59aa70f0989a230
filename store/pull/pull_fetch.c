#include "store/cancel.h"
#include "store/pull/pull_task.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* How often a running pull writes its byte counts into the catalogue. */
enum { PROGRESS_INTERVAL_MS = 500 };

/* The layers of one pull, worked off by a few threads. */
struct pull_fetch {
    struct pull_task *task;
    pull_when_complete *when_complete; /* NULL: there is none, or it was called */
    atomic_size_t next_layer;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    size_t running_threads;
    size_t complete_layers; /* and the draft_fd of each layer */
    bool failed;
    struct error error; /* the first one */
};

static void report_failure(struct pull_fetch *fetch, const struct error *error)
{
    pthread_mutex_lock(&fetch->mutex);
    if (!fetch->failed) {
        fetch->failed = true;
        fetch->error = *error;
    }
    pthread_mutex_unlock(&fetch->mutex);
    atomic_store(&fetch->task->stop, true); /* the others' work is in vain */
}

static void *fetch_thread(void *context)
{
    struct pull_fetch *fetch = context;
    struct pull_task *task = fetch->task;
    for (;;) {
        size_t index = atomic_fetch_add(&fetch->next_layer, 1);
        struct error error;
        if (index >= task->layer_count || atomic_load(&task->stop))
            break;
        if (!pull_layer(task, &task->layers[index], &error))
            report_failure(fetch, &error);
    }
    pthread_mutex_lock(&fetch->mutex);
    fetch->running_threads--;
    pthread_cond_signal(&fetch->changed);
    pthread_mutex_unlock(&fetch->mutex);
    return NULL;
}

void pull_layer_is_complete(struct pull_task *task, struct task_layer *layer, int draft_fd)
{
    struct pull_fetch *fetch = task->fetch;
    pthread_mutex_lock(&fetch->mutex);
    layer->draft_fd = draft_fd;
    fetch->complete_layers++;
    pthread_cond_signal(&fetch->changed);
    pthread_mutex_unlock(&fetch->mutex);
}

static void close_draft(struct task_layer *layer)
{
    if (layer->draft_fd >= 0)
        close(layer->draft_fd);
    layer->draft_fd = -1;
}

void pull_layer_is_published(struct pull_task *task, struct task_layer *layer)
{
    pthread_mutex_lock(&task->fetch->mutex);
    close_draft(layer);
    pthread_mutex_unlock(&task->fetch->mutex);
}

/* *fd is -1 when the layer has its name. */
static bool open_draft(struct pull_task *task, const struct task_layer *layer, int *fd,
                       struct error *error)
{
    *fd = -1;
    if (!task->fetch)
        return true;
    pthread_mutex_lock(&task->fetch->mutex);
    bool is_draft = layer->draft_fd >= 0;
    if (is_draft)
        *fd = fcntl(layer->draft_fd, F_DUPFD_CLOEXEC, 0);
    int failed = errno;
    pthread_mutex_unlock(&task->fetch->mutex);
    return !is_draft || *fd >= 0 ||
           error_set_errno(error, ERROR_INTERNAL, failed, "cannot open a complete layer");
}

int pull_open_layer(struct pull_task *task, struct task_layer *layer, struct error *error)
{
    int fd = -1;
    if (!open_draft(task, layer, &fd, error) || fd >= 0)
        return fd;
    return blob_open(task->config->blobdir, BLOB_LAYER, &layer->diff_id, error);
}

static void write_progress(struct pull_task *task)
{
    struct pull *pull = &task->pull;
    for (size_t position = 0; position < pull->layer_count; position++) {
        const struct task_layer *layer = &task->layers[task->layer_of_position[position]];
        struct pull_layer *row = &pull->layers[position];
        row->received_bytes = (int64_t)atomic_load(&layer->received_bytes);
        row->tar_bytes = (int64_t)atomic_load(&layer->tar_bytes);
        row->state = row->received_bytes > 0 ? "fetching" : "waiting";
    }
    /* Only watchers miss it: the end of each layer is written on its own. */
    struct error ignored;
    (void)catalogue_pull_progress(task->config->catalogue, task->config->node_id, pull->id,
                                  pull->layers, pull->layer_count, &ignored);
}

static struct timespec next_report(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += PROGRESS_INTERVAL_MS * 1000000L;
    time.tv_sec += time.tv_nsec / 1000000000L;
    time.tv_nsec %= 1000000000L;
    return time;
}

/* With the mutex, which it gives back meanwhile. */
static void call_when_complete(struct pull_fetch *fetch)
{
    pull_when_complete *when_complete = fetch->when_complete;
    if (!when_complete || fetch->failed || fetch->complete_layers < fetch->task->layer_count)
        return;
    fetch->when_complete = NULL;
    pthread_mutex_unlock(&fetch->mutex);
    when_complete(fetch->task);
    pthread_mutex_lock(&fetch->mutex);
}

/* Waits for the threads, and reports meanwhile. */
static void wait_for_threads(struct pull_fetch *fetch)
{
    struct timespec deadline = next_report();
    pthread_mutex_lock(&fetch->mutex);
    for (;;) {
        call_when_complete(fetch);
        if (fetch->running_threads == 0)
            break;
        if (pthread_cond_timedwait(&fetch->changed, &fetch->mutex, &deadline) == 0)
            continue;
        pthread_mutex_unlock(&fetch->mutex);
        write_progress(fetch->task);
        deadline = next_report();
        pthread_mutex_lock(&fetch->mutex);
    }
    pthread_mutex_unlock(&fetch->mutex);
}

static void init_fetch(struct pull_fetch *fetch, struct pull_task *task,
                       pull_when_complete *when_complete)
{
    *fetch = (struct pull_fetch){.task = task, .when_complete = when_complete};
    task->fetch = fetch;
    pthread_mutex_init(&fetch->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&fetch->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Starts up to layer_jobs threads; returns how many there are. */
static size_t start_threads(struct pull_fetch *fetch, pthread_t *threads)
{
    const struct pull_task *task = fetch->task;
    size_t wanted =
        task->layer_count < task->config->layer_jobs ? task->layer_count : task->config->layer_jobs;
    size_t started = 0;
    pthread_mutex_lock(&fetch->mutex);
    while (started < wanted && pthread_create(&threads[started], NULL, fetch_thread, fetch) == 0)
        started++;
    fetch->running_threads = started;
    pthread_mutex_unlock(&fetch->mutex);
    return started;
}

static void end_fetch(struct pull_fetch *fetch)
{
    for (size_t i = 0; i < fetch->task->layer_count; i++)
        close_draft(&fetch->task->layers[i]);
    fetch->task->fetch = NULL;
    pthread_cond_destroy(&fetch->changed);
    pthread_mutex_destroy(&fetch->mutex);
}

bool pull_fetch_layers(struct pull_task *task, pull_when_complete *when_complete,
                       struct error *error)
{
    struct pull_fetch fetch;
    init_fetch(&fetch, task, when_complete);
    pthread_t *threads =
        arena_alloc_array(&task->arena, task->config->layer_jobs, sizeof(*threads));
    size_t started = start_threads(&fetch, threads);
    wait_for_threads(&fetch);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    end_fetch(&fetch);

    if (fetch.failed) {
        *error = fetch.error;
        return false;
    }
    if (started == 0 && task->layer_count > 0)
        return error_set(error, ERROR_INTERNAL, "no thread could be started to fetch layers");
    return cancel_check(&task->stop, error);
}
