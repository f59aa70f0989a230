#include "server/pull_watch.h"

#include "server/cache_lease.h"
#include "server/clock.h"
#include "server/node.h"
#include "server/pull_answer.h"
#include "server/pull_events.h"

#include <pthread.h>
#include <string.h>

enum {
    LOOK_EVERY_US = 75 * 1000,            /* at a pull of another node's, or of nobody's yet */
    LOOK_HERE_EVERY_US = 2 * 1000 * 1000, /* which may be another node's by now */
    PROGRESS_EVERY_US = 200 * 1000,       /* its node writes it down every 500 ms */
    SLEEP_MAX_US = 60 * 1000000,
};

/* A pull that somebody waits for or follows; the thread's own. */
struct watched {
    struct watched *next;
    char *id; /* owned */
    struct request *waiting;
    int64_t look_at_us; /* when to ask the catalogue again */
};

/* A pull that may have ended; owned by whose list it is in. */
struct ended {
    struct ended *next;
    char id[];
};

struct pull_watch {
    struct node *node;
    void (*resume)(struct request *request);
    pthread_t thread;
    struct watched *watched; /* the thread's own */
    pthread_mutex_t lock;    /* guards what follows */
    pthread_cond_t changed;
    struct request *arrived;
    struct ended *ended;
    bool hurry;
    bool stopping;
};

/* What the thread takes over in one round. */
struct round {
    struct request *arrived;
    struct ended *ended;
    bool hurry;
    bool stopping;
};

static struct watched *find_watched(struct pull_watch *watch, const char *id)
{
    struct watched *watched = watch->watched;
    while (watched && strcmp(watched->id, id) != 0)
        watched = watched->next;
    return watched;
}

static struct watched *need_watched(struct pull_watch *watch, const char *id)
{
    struct watched *watched = find_watched(watch, id);
    if (watched)
        return watched;
    watched = calloc(1, sizeof(*watched));
    if (!watched || !(watched->id = strdup(id)))
        abort();
    watched->next = watch->watched;
    watch->watched = watched;
    return watched;
}

static void free_watched(struct watched *watched)
{
    free(watched->id);
    free(watched);
}

/* One who follows a pull comes back after each event: that is no reason to look again
 * before it is time, while others follow it too. */
static void sort_in(struct pull_watch *watch, struct round *round)
{
    while (round->arrived) {
        struct request *request = round->arrived;
        round->arrived = request->wait.next;
        struct watched *watched = need_watched(watch, request->wait.pull_id);
        request->wait.next = watched->waiting;
        watched->waiting = request;
        if (!request->stream.is_open)
            watched->look_at_us = 0;
        else if (watched->look_at_us > clock_now_us() + PROGRESS_EVERY_US)
            watched->look_at_us = clock_now_us() + PROGRESS_EVERY_US;
    }
    while (round->ended) {
        struct ended *ended = round->ended;
        round->ended = ended->next;
        struct watched *watched = find_watched(watch, ended->id);
        if (watched)
            watched->look_at_us = 0;
        free(ended);
    }
}

/* What one look found of a pull; it serves all who watch it. */
struct look {
    struct arena arena;
    bool found;
    struct pull pull;
    struct error error;
    struct pull_event event; /* without a name: nobody followed it so far */
};

static bool is_gone(const struct look *look)
{
    return !look->found && look->error.code != ERROR_CATALOGUE_UNAVAILABLE;
}

/* True when the connection has something to send. A catalogue that is away for a
 * moment is no reason to give up before the time is over. */
static bool settle(struct look *look, struct request *request, bool hurry)
{
    if (request->stream.is_open && look->found && !look->event.name)
        pull_event_write(request->node, &look->arena, &look->pull, &look->event);
    if (request->stream.is_open)
        return pull_events_look(request, look->found ? &look->event : NULL, is_gone(look), hurry);
    bool goes_on = look->found ? !pull_state_is_final(look->pull.state) : !is_gone(look);
    if (goes_on && !hurry && clock_now_us() < request->wait.deadline_us)
        return false;
    if (look->found)
        pull_answer_waited(request, &look->pull);
    else
        request_answer_problem(request, &look->error);
    return true;
}

static void settle_all(struct pull_watch *watch, struct watched *watched, struct look *look,
                       bool hurry)
{
    for (struct request **slot = &watched->waiting; *slot;) {
        struct request *request = *slot;
        if (!settle(look, request, hurry)) {
            slot = &request->wait.next;
            continue;
        }
        *slot = request->wait.next;
        watch->resume(request);
    }
}

/* Of the end of a pull that runs here, pull_watch_note_end() tells. */
static bool runs_here(const struct pull_watch *watch, const struct look *look)
{
    return look->found && look->pull.node_id && strcmp(look->pull.node_id, watch->node->id) == 0;
}

static int64_t next_look_us(const struct pull_watch *watch, const struct watched *watched,
                            const struct look *look)
{
    int64_t now_us = clock_now_us();
    int64_t at_us = now_us + (runs_here(watch, look) ? LOOK_HERE_EVERY_US : LOOK_EVERY_US);
    for (const struct request *request = watched->waiting; request; request = request->wait.next) {
        int64_t needed_us =
            request->stream.is_open ? now_us + PROGRESS_EVERY_US : request->wait.deadline_us;
        at_us = needed_us < at_us ? needed_us : at_us;
    }
    return at_us;
}

static void look_at(struct pull_watch *watch, struct watched *watched, bool hurry)
{
    struct look look = {0};
    look.found = catalogue_find_pull(watch->node->catalogue, watched->id, &look.arena, &look.pull,
                                     &look.error);
    /* Who is told that an image is here finds it here, or is told later. */
    if (look.found && pull_state_is_final(look.pull.state))
        look.found = cache_lease_renew(watch->node->lease, watch->node->catalogue, &look.error);
    settle_all(watch, watched, &look, hurry);
    watched->look_at_us = next_look_us(watch, watched, &look);
    json_writer_free(&look.event.data);
    arena_free(&look.arena);
}

static void look_at_all(struct pull_watch *watch, bool hurry)
{
    for (struct watched **slot = &watch->watched; *slot;) {
        struct watched *watched = *slot;
        if (hurry || clock_now_us() >= watched->look_at_us)
            look_at(watch, watched, hurry);
        if (watched->waiting) {
            slot = &watched->next;
            continue;
        }
        *slot = watched->next;
        free_watched(watched);
    }
}

/* How long nothing has to be looked at. */
static unsigned sleep_ms(const struct pull_watch *watch)
{
    int64_t now_us = clock_now_us();
    int64_t first_us = now_us + SLEEP_MAX_US;
    for (const struct watched *watched = watch->watched; watched; watched = watched->next)
        if (watched->look_at_us < first_us)
            first_us = watched->look_at_us;
    return first_us > now_us ? (unsigned)((first_us - now_us + 999) / 1000) : 0;
}

/* Sleeps until there is something to look at, and takes over what came. */
static struct round next_round(struct pull_watch *watch)
{
    struct timespec at = clock_after_ms(sleep_ms(watch));
    pthread_mutex_lock(&watch->lock);
    int failed = 0;
    while (!watch->arrived && !watch->ended && !watch->stopping && failed == 0 &&
           !(watch->hurry && watch->watched))
        failed = pthread_cond_timedwait(&watch->changed, &watch->lock, &at);
    struct round round = {watch->arrived, watch->ended, watch->hurry || watch->stopping,
                          watch->stopping};
    watch->arrived = NULL;
    watch->ended = NULL;
    pthread_mutex_unlock(&watch->lock);
    return round;
}

static void *run(void *argument)
{
    struct pull_watch *watch = argument;
    struct round round;
    do {
        round = next_round(watch);
        sort_in(watch, &round);
        look_at_all(watch, round.hurry);
    } while (!round.stopping);
    return NULL;
}

struct pull_watch *pull_watch_start(struct node *node, void (*resume)(struct request *request),
                                    struct error *error)
{
    struct pull_watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        abort();
    watch->node = node;
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

void pull_watch_note_end(void *context, const char *pull_id)
{
    struct pull_watch *watch = context;
    size_t size = strlen(pull_id) + 1;
    struct ended *ended = malloc(sizeof(*ended) + size);
    if (!ended)
        abort();
    memcpy(ended->id, pull_id, size);
    pthread_mutex_lock(&watch->lock);
    ended->next = watch->ended;
    watch->ended = ended;
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
