#include "store/puller.h"

#include "store/convert/nursery.h"
#include "store/metrics.h"
#include "store/pull/running_pulls.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
    POLL_INTERVAL_MS = 1000,       /* for pulls queued, or left, by other nodes */
    HEARTBEAT_INTERVAL_MS = 1000,  /* ten of them missed: pull_rows.h takes the node for dead */
    LOOK_INTERVAL_MS = 250,        /* while pulls run: is one cancelled elsewhere, or lost? */
    CLEAN_INTERVAL_MS = 20 * 1000, /* tmp/ of dead nodes, and the history */
    WATCH_INTERVAL_MS = 5 * 1000,  /* of the directory: does it answer? */
    HANGS_MS = 40 * 1000,          /* once it did not for so long */
    OTHER_THREADS = 3,             /* than those that run pulls: heartbeat, cleaning, watch */
    NODE_ID_SIZE = 64,
};

struct puller {
    struct puller_config config; /* node_id and address point to what is below */
    char node_id[NODE_ID_SIZE];
    char *address;      /* owned; NULL: none */
    pthread_t *threads; /* what runs as long as the puller; owned by puller_start and puller_stop */
    unsigned thread_count;
    _Atomic int64_t asked_directory_us; /* which has not answered yet; 0: it has */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    bool stopping;
    uint64_t wake_count;

    struct running_pulls running;

    pthread_mutex_t end_mutex; /* guards what follows; taken alone */
    void (*ended)(void *context, const char *pull_id);
    void *ended_context;
};

const struct puller_config *puller_config(const struct puller *puller)
{
    return &puller->config;
}

void puller_log(const struct puller *puller, const char *event, const struct pull *pull,
                const struct error *error, const char *detail)
{
    puller->config.log(puller->config.log_context, event, pull, error, detail);
}

static bool is_stopping(struct puller *puller)
{
    pthread_mutex_lock(&puller->mutex);
    bool stopping = puller->stopping;
    pthread_mutex_unlock(&puller->mutex);
    return stopping;
}

static uint64_t wakes_so_far(struct puller *puller)
{
    pthread_mutex_lock(&puller->mutex);
    uint64_t count = puller->wake_count;
    pthread_mutex_unlock(&puller->mutex);
    return count;
}

static struct timespec time_in(long milliseconds)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += milliseconds % 1000 * 1000000L;
    time.tv_sec += milliseconds / 1000 + time.tv_nsec / 1000000000L;
    time.tv_nsec %= 1000000000L;
    return time;
}

/* Sleeps until woken since `seen`, stopped, or the time is over. */
static void wait_for_work(struct puller *puller, uint64_t seen, long milliseconds)
{
    struct timespec deadline = time_in(milliseconds);
    pthread_mutex_lock(&puller->mutex);
    int status = 0;
    while (!puller->stopping && puller->wake_count == seen && status == 0)
        status = pthread_cond_timedwait(&puller->changed, &puller->mutex, &deadline);
    pthread_mutex_unlock(&puller->mutex);
}

/* Sleeps until stopped, or the time is over. */
static void wait_for_stop(struct puller *puller, long milliseconds)
{
    struct timespec deadline = time_in(milliseconds);
    pthread_mutex_lock(&puller->mutex);
    int status = 0;
    while (!puller->stopping && status == 0)
        status = pthread_cond_timedwait(&puller->changed, &puller->mutex, &deadline);
    pthread_mutex_unlock(&puller->mutex);
}

/* A pull was queued here: look for it now rather than at the next poll. */
static void wake(struct puller *puller)
{
    pthread_mutex_lock(&puller->mutex);
    puller->wake_count++;
    pthread_cond_broadcast(&puller->changed);
    pthread_mutex_unlock(&puller->mutex);
}

void puller_show(struct puller *puller, struct pull_task *task)
{
    running_pulls_add(&puller->running, task);
}

void puller_hide(struct puller *puller, struct pull_task *task)
{
    running_pulls_remove(&puller->running, task);
}

void puller_begin_taking(struct puller *puller)
{
    running_pulls_begin_taking(&puller->running);
}

void puller_end_taking(struct puller *puller)
{
    running_pulls_end_taking(&puller->running);
}

void puller_stop_loads(struct puller *puller)
{
    running_pulls_stop_loads(&puller->running);
}

bool puller_are_loads_stopping(struct puller *puller)
{
    return running_pulls_are_loads_stopping(&puller->running);
}

void puller_tell_end(struct puller *puller, const char *pull_id)
{
    pthread_mutex_lock(&puller->end_mutex);
    if (puller->ended)
        puller->ended(puller->ended_context, pull_id);
    pthread_mutex_unlock(&puller->end_mutex);
}

static bool directory_hangs(struct puller *puller)
{
    int64_t since_us = atomic_load(&puller->asked_directory_us);
    return since_us > 0 && metric_now_us() - since_us > HANGS_MS * INT64_C(1000);
}

void puller_look_after(struct puller *puller)
{
    cleanup_arena struct arena arena = {0};
    struct id_list running;
    struct id_list cancelled = {0};
    struct id_list lost = {0};
    struct error error;
    running_pulls_list(&puller->running, &arena, &running);
    /* When it fails, the catalogue is away, which readiness says; others take over. */
    if (running.count == 0 ||
        !catalogue_look_after_pulls(puller->config.catalogue, puller->node_id, &running, &arena,
                                    &cancelled, &lost, &error))
        return;
    for (size_t i = 0; i < cancelled.count; i++)
        running_pulls_stop(&puller->running, cancelled.ids[i], true);
    for (size_t i = 0; i < lost.count; i++)
        running_pulls_stop(&puller->running, lost.ids[i], false);
}

/* One whose end is not written down is given back by the heartbeat, if it is still this node's. */
static void finish_task(struct puller *puller, struct pull_task *task, bool done,
                        const struct error *why)
{
    struct pull *pull = &task->pull;
    struct error error;
    if (done) {
        if (!task->again)
            metric_add(METRIC_PULLS_ENDED, 1, ENDED_DONE);
        puller_log(puller, task->again ? "pull runs again" : "pull done", pull, NULL,
                   task->again ? "somebody joined it with a stricter wish" : NULL);
        return;
    }
    /* A cancel may have stood in the way of its commit that has not been heard of here. */
    if (why->code == ERROR_PULL_CANCELLED && !atomic_load(&task->cancelled))
        puller_look_after(puller);
    if (why->code == ERROR_PULL_CANCELLED && !atomic_load(&task->cancelled)) {
        metric_add(METRIC_PULLS_ENDED, 1, ENDED_GIVEN_BACK);
        puller_log(puller, "pull given back", pull, why, NULL);
        return;
    }
    /* Before its end is told, so that who hears of it finds nothing. */
    if (pull_leaves_nothing(task, why->code) &&
        !pull_leave_nothing(&puller->config, pull->id, &error))
        puller_log(puller, "what the pull built stays until a prune", pull, &error, NULL);
    if (why->code == ERROR_CATALOGUE_UNAVAILABLE ||
        !catalogue_pull_failed(puller->config.catalogue, puller->node_id, pull->id, why, &error)) {
        metric_add(METRIC_PULLS_ENDED, 1, ENDED_GIVEN_BACK);
        puller_log(puller, "pull interrupted", pull, why, NULL);
        return;
    }
    bool cancelled = why->code == ERROR_PULL_CANCELLED;
    metric_add(METRIC_PULLS_ENDED, 1, cancelled ? ENDED_CANCELLED : ENDED_FAILED);
    puller_log(puller, cancelled ? "pull cancelled" : "pull failed", pull, why, NULL);
}

static bool claim(struct puller *puller, struct pull_task *task)
{
    struct error ignored; /* the catalogue is away, which readiness says */
    bool claimed = false;
    if (directory_hangs(puller))
        return false;
    puller_begin_taking(puller);
    bool asked = catalogue_claim_pull(puller->config.catalogue, puller->node_id, &task->arena,
                                      &task->pull, &claimed, &ignored);
    if (asked && claimed)
        puller_show(puller, task);
    if (asked && claimed && task->pull.cancel_requested)
        running_pulls_stop(&puller->running, task->pull.id, true);
    puller_end_taking(puller);
    return asked && claimed;
}

/* True when there was a pull to run. */
static bool run_next(struct puller *puller)
{
    struct pull_task task = {.config = &puller->config};
    struct error error = {0};
    bool claimed = claim(puller, &task);
    if (claimed) {
        puller_log(puller, "pull started", &task.pull, NULL, NULL);
        bool done = pull_run(&task, &error);
        registry_withhold_secrets(puller->config.registry, &task.reference, &error);
        finish_task(puller, &task, done, &error);
        puller_hide(puller, &task);
        puller_tell_end(puller, task.pull.id);
    }
    arena_free(&task.arena);
    return claimed;
}

static void *pull_thread(void *context)
{
    struct puller *puller = context;
    while (!is_stopping(puller)) {
        uint64_t seen = wakes_so_far(puller);
        if (!run_next(puller))
            wait_for_work(puller, seen, POLL_INTERVAL_MS);
    }
    return NULL;
}

static void trim_history(struct puller *puller)
{
    struct error error;
    if (!catalogue_trim_history(puller->config.catalogue, &error))
        puller_log(puller, "trimming the history failed", NULL, &error, NULL);
}

/* Apart from the heartbeat: the directory may have much to unlink, or hang. */
static void *cleaning_thread(void *context)
{
    struct puller *puller = context;
    while (!is_stopping(puller)) {
        pull_clean_dead_nodes(&puller->config);
        trim_history(puller);
        wait_for_stop(puller, CLEAN_INTERVAL_MS);
    }
    return NULL;
}

/* By itself, for who has much to unlink is slow and does not hang. */
static void *watch_thread(void *context)
{
    struct puller *puller = context;
    while (!is_stopping(puller)) {
        atomic_store(&puller->asked_directory_us, metric_now_us());
        pull_ask_directory(&puller->config);
        atomic_store(&puller->asked_directory_us, 0);
        wait_for_stop(puller, WATCH_INTERVAL_MS);
    }
    return NULL;
}

struct cpu_use {
    int64_t wall_us;
    int64_t cpu_us;
};

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

/* The converters count when they have ended. */
static struct cpu_use cpu_use_so_far(void)
{
    struct rusage own;
    struct rusage children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return (struct cpu_use){.wall_us = metric_now_us(),
                            .cpu_us = microseconds(own.ru_utime) + microseconds(own.ru_stime) +
                                      microseconds(children.ru_utime) +
                                      microseconds(children.ru_stime)};
}

/* Cores kept busy since the last time. */
static double load_since(struct cpu_use *last)
{
    struct cpu_use now = cpu_use_so_far();
    int64_t wall_us = now.wall_us - last->wall_us;
    double load = wall_us > 0 ? (double)(now.cpu_us - last->cpu_us) / (double)wall_us : 0;
    *last = now;
    return load;
}

static void tell_beat(struct puller *puller, double load)
{
    bool is_too_old = false;
    struct error ignored; /* as above */
    if (!catalogue_beat_node(puller->config.catalogue, puller->node_id, puller->config.address,
                             load, &is_too_old, &ignored))
        return;
    if (is_too_old)
        puller->config.too_old(puller->config.log_context,
                               "the catalogue was migrated to what larder " LARDER_VERSION
                               " cannot work on: start a newer larder");
    (void)catalogue_disconnect_dead_nodes(puller->config.catalogue, puller->node_id, &ignored);
}

/* Then what runs here holds locks and never ends, while the directory may be well on other nodes:
 * they are to take this one for dead, and its pulls over. */
static void beat(struct puller *puller, struct cpu_use *last)
{
    double load = load_since(last);
    if (directory_hangs(puller))
        return;
    tell_beat(puller, load);
    if (running_pulls_give_back(&puller->running, puller->config.catalogue, puller->node_id) > 0)
        wake(puller);
}

/* What it does must not wait for the directory: who beats no more is dead to the others. */
static void *heartbeat_thread(void *context)
{
    enum { LOOKS_A_BEAT = HEARTBEAT_INTERVAL_MS / LOOK_INTERVAL_MS };
    struct puller *puller = context;
    struct cpu_use last = cpu_use_so_far();
    for (unsigned looks = 0; !is_stopping(puller); looks++) {
        if (looks % LOOKS_A_BEAT == 0)
            beat(puller, &last);
        puller_look_after(puller);
        wait_for_work(puller, wakes_so_far(puller), LOOK_INTERVAL_MS);
    }
    return NULL;
}

static struct puller *puller_new(const struct puller_config *config)
{
    struct puller *puller = calloc(1, sizeof(*puller));
    if (!puller)
        abort();
    puller->config = *config;
    snprintf(puller->node_id, sizeof(puller->node_id), "%s", config->node_id);
    puller->config.node_id = puller->node_id;
    if (config->address && !(puller->address = strdup(config->address)))
        abort();
    puller->config.address = puller->address;
    puller->config.layer_budget = layer_budget_new(config->layer_jobs);
    puller->threads = calloc(OTHER_THREADS + config->pull_jobs, sizeof(*puller->threads));
    if (!puller->threads)
        abort();
    running_pulls_init(&puller->running);
    pthread_mutex_init(&puller->mutex, NULL);
    pthread_mutex_init(&puller->end_mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&puller->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return puller;
}

static void puller_free(struct puller *puller)
{
    pthread_cond_destroy(&puller->changed);
    pthread_mutex_destroy(&puller->mutex);
    pthread_mutex_destroy(&puller->end_mutex);
    layer_budget_free(puller->config.layer_budget);
    free(puller->threads);
    free(puller->address);
    running_pulls_free(&puller->running);
    free(puller);
}

static bool start_thread(struct puller *puller, void *(*run)(void *puller))
{
    if (pthread_create(&puller->threads[puller->thread_count], NULL, run, puller) != 0)
        return false;
    puller->thread_count++;
    return true;
}

static bool start_threads(struct puller *puller)
{
    bool started = start_thread(puller, watch_thread) && start_thread(puller, heartbeat_thread) &&
                   start_thread(puller, cleaning_thread);
    for (unsigned i = 0; started && i < puller->config.pull_jobs; i++)
        started = start_thread(puller, pull_thread);
    return started;
}

static void join_threads(struct puller *puller)
{
    pthread_mutex_lock(&puller->mutex);
    puller->stopping = true;
    pthread_cond_broadcast(&puller->changed);
    pthread_mutex_unlock(&puller->mutex);
    running_pulls_stop_all(&puller->running);

    for (unsigned i = 0; i < puller->thread_count; i++)
        pthread_join(puller->threads[i], NULL);
}

struct puller *puller_start(const struct puller_config *config, struct error *error)
{
    struct puller *puller = puller_new(config);
    if (!catalogue_register_node(config->catalogue, puller->node_id, puller->address, error)) {
        puller_free(puller);
        return NULL;
    }
    if (!start_threads(puller)) {
        join_threads(puller);
        puller_free(puller);
        (void)error_set(error, ERROR_INTERNAL, "the puller's threads cannot be started");
        return NULL;
    }
    nursery_prepare();
    return puller;
}

bool puller_submit(struct puller *puller, const struct pull_request *request, struct arena *arena,
                   struct pull *pull, struct error *error)
{
    bool answered = false;
    bool joined = false;
    if (!pull_answer_from_cache(&puller->config, request, arena, pull, &answered, error))
        return false;
    if (answered)
        return true;
    if (!catalogue_queue_pull(puller->config.catalogue, request, arena, pull, &joined, error))
        return false;
    wake(puller);
    return true;
}

void puller_on_end(struct puller *puller, void (*ended)(void *context, const char *pull_id),
                   void *context)
{
    pthread_mutex_lock(&puller->end_mutex);
    puller->ended = ended;
    puller->ended_context = context;
    pthread_mutex_unlock(&puller->end_mutex);
}

bool puller_cancel(struct puller *puller, const char *pull_id, struct error *error)
{
    bool ended = false;
    struct error ignored; /* then its layers stay until a prune */
    if (!catalogue_cancel_pull(puller->config.catalogue, pull_id, &ended, error))
        return false;
    running_pulls_stop(&puller->running, pull_id, true);
    if (ended) {
        (void)pull_leave_nothing(&puller->config, pull_id, &ignored);
        puller_tell_end(puller, pull_id);
    }
    return true;
}

void puller_stop(struct puller *puller)
{
    if (!puller)
        return;
    join_threads(puller);
    nursery_end();
    /* When this fails, the missing heartbeat says the same. */
    struct error ignored;
    (void)catalogue_leave_node(puller->config.catalogue, puller->node_id, &ignored);
    puller_free(puller);
}
