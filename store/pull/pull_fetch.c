#include "store/cancel.h"
#include "store/pull/pull_task.h"

#include <time.h>

/* How often a running pull writes its byte counts into the catalogue. */
enum { PROGRESS_INTERVAL_MS = 500 };

/* The layers of one pull, worked off by a few threads. */
struct fetch {
    struct pull_task *task;
    atomic_size_t next_layer;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    size_t running_threads;
    bool failed;
    struct error error; /* the first one */
};

static void report_failure(struct fetch *fetch, const struct error *error)
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
    struct fetch *fetch = context;
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

/* Waits for the threads, and reports meanwhile. */
static void wait_for_threads(struct fetch *fetch)
{
    struct timespec deadline = next_report();
    pthread_mutex_lock(&fetch->mutex);
    while (fetch->running_threads > 0) {
        if (pthread_cond_timedwait(&fetch->changed, &fetch->mutex, &deadline) == 0)
            continue;
        pthread_mutex_unlock(&fetch->mutex);
        write_progress(fetch->task);
        deadline = next_report();
        pthread_mutex_lock(&fetch->mutex);
    }
    pthread_mutex_unlock(&fetch->mutex);
}

static void init_fetch(struct fetch *fetch, struct pull_task *task)
{
    *fetch = (struct fetch){.task = task};
    pthread_mutex_init(&fetch->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&fetch->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Starts up to layer_jobs threads; returns how many there are. */
static size_t start_threads(struct fetch *fetch, pthread_t *threads)
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

bool pull_fetch_layers(struct pull_task *task, struct error *error)
{
    struct fetch fetch;
    init_fetch(&fetch, task);
    pthread_t *threads =
        arena_alloc_array(&task->arena, task->config->layer_jobs, sizeof(*threads));
    size_t started = start_threads(&fetch, threads);
    wait_for_threads(&fetch);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&fetch.changed);
    pthread_mutex_destroy(&fetch.mutex);

    if (fetch.failed) {
        *error = fetch.error;
        return false;
    }
    if (started == 0 && task->layer_count > 0)
        return error_set(error, ERROR_INTERNAL, "no thread could be started to fetch layers");
    return cancel_check(&task->stop, error);
}
