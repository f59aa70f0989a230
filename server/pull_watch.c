#include "server/pull_watch.h"

#include "server/clock.h"
#include "server/node.h"
#include "server/pull_answer.h"
#include "server/pull_events.h"

#include <pthread.h>
#include <string.h>

enum { LOOK_EVERY_MS = 75 };

struct pull_watch {
    void (*resume)(struct request *request);
    pthread_t thread;
    struct request *waiting; /* the thread's own */
    pthread_mutex_t lock;    /* guards what follows */
    pthread_cond_t changed;
    struct request *arrived;
    bool hurry;
    bool stopping;
};

/* The pulls that one look has read, so that many who wait for one ask once. */
struct look {
    struct arena arena;
    struct seen {
        struct seen *next;
        bool found;
        struct pull pull;
        struct error error;
    } *seen;
};

static const struct seen *look_up(struct look *look, struct catalogue *catalogue, const char *id)
{
    for (struct seen *seen = look->seen; seen; seen = seen->next)
        if (seen->found && strcmp(seen->pull.id, id) == 0)
            return seen;
    struct seen *seen = arena_alloc(&look->arena, sizeof(*seen));
    seen->found = catalogue_find_pull(catalogue, id, &look->arena, &seen->pull, &seen->error);
    seen->next = look->seen;
    look->seen = seen;
    return seen;
}

/* True when the connection has something to send. A catalogue that is away for a
 * moment is no reason to give up before the time is over. */
static bool settle(struct look *look, struct request *request, bool hurry)
{
    const struct seen *seen = look_up(look, request->node->catalogue, request->wait.pull_id);
    bool transient = !seen->found && seen->error.code == ERROR_CATALOGUE_UNAVAILABLE;
    if (request->stream.is_open)
        return pull_events_look(request, seen->found ? &seen->pull : NULL,
                                !seen->found && !transient, hurry);
    bool over = hurry || clock_now_us() >= request->wait.deadline_us;
    bool running = seen->found && !pull_state_is_final(seen->pull.state);
    if (!over && (transient || running))
        return false;
    if (seen->found)
        pull_answer_waited(request, &seen->pull);
    else
        request_answer_problem(request, &seen->error);
    return true;
}

static void look_after_all(struct pull_watch *watch, bool hurry)
{
    struct look look = {0};
    for (struct request **slot = &watch->waiting; *slot;) {
        struct request *request = *slot;
        if (!settle(&look, request, hurry)) {
            slot = &request->wait.next;
            continue;
        }
        *slot = request->wait.next;
        watch->resume(request);
    }
    arena_free(&look.arena);
}

/* Takes over what arrived; sleeps while there is nothing to look after. */
static bool take_arrived(struct pull_watch *watch, bool *hurry)
{
    pthread_mutex_lock(&watch->lock);
    while (!watch->waiting && !watch->arrived && !watch->stopping)
        pthread_cond_wait(&watch->changed, &watch->lock);
    if (watch->waiting && !watch->stopping && !watch->hurry) {
        struct timespec at = clock_after_ms(LOOK_EVERY_MS);
        pthread_cond_timedwait(&watch->changed, &watch->lock, &at);
    }
    while (watch->arrived) {
        struct request *request = watch->arrived;
        watch->arrived = request->wait.next;
        request->wait.next = watch->waiting;
        watch->waiting = request;
    }
    *hurry = watch->hurry || watch->stopping;
    bool stopping = watch->stopping;
    pthread_mutex_unlock(&watch->lock);
    return !stopping || watch->waiting;
}

static void *run(void *argument)
{
    struct pull_watch *watch = argument;
    bool hurry = false;
    while (take_arrived(watch, &hurry))
        look_after_all(watch, hurry);
    return NULL;
}

struct pull_watch *pull_watch_start(void (*resume)(struct request *request), struct error *error)
{
    struct pull_watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        abort();
    watch->resume = resume;
    clock_cond_init(&watch->changed);
    pthread_mutex_init(&watch->lock, NULL);
    int failed = pthread_create(&watch->thread, NULL, run, watch);
    if (!failed)
        return watch;
    error_set_errno(error, ERROR_INTERNAL, failed,
                    "The thread that waits for pulls does not start");
    free(watch);
    return NULL;
}

void pull_watch_add(struct pull_watch *watch, struct request *request)
{
    pthread_mutex_lock(&watch->lock);
    request->wait.next = watch->arrived;
    watch->arrived = request;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

void pull_watch_hurry(struct pull_watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->hurry = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

void pull_watch_stop(struct pull_watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}
