/* The pulls that run on a node: on the puller's threads, and on those of loads. Whoever
 * cancels one, or stops the node, finds its task here. Thread-safe. */
#ifndef LARDER_STORE_PULL_RUNNING_PULLS_H
#define LARDER_STORE_PULL_RUNNING_PULLS_H

#include "store/pull/pull_task.h"

struct running_pulls {
    pthread_mutex_t mutex;          /* guards what follows; taken alone */
    struct pull_task *first;        /* linked by their next_running; their threads' own */
    bool stopping;                  /* whatever comes is stopped at once */
    bool loads_stopping;            /* so are loads */
    struct lost_pull *to_give_back; /* owned */
};

void running_pulls_init(struct running_pulls *running);
void running_pulls_free(struct running_pulls *running);

void running_pulls_add(struct running_pulls *running, struct pull_task *task);
void running_pulls_remove(struct running_pulls *running, struct pull_task *task);

/* The ids of the pulls that run here at this moment. */
void running_pulls_list(struct running_pulls *running, struct arena *arena, struct id_list *ids);
/* Stops the task of that pull, if it runs here; `cancelled` says that somebody asked for it. */
void running_pulls_stop(struct running_pulls *running, const char *pull_id, bool cancelled);
/* Stops all, or all loads, also those that come later. */
void running_pulls_stop_all(struct running_pulls *running);
void running_pulls_stop_loads(struct running_pulls *running);
[[nodiscard]] bool running_pulls_are_loads_stopping(struct running_pulls *running);

/* Pulls that ended here, which the catalogue could not be told. */
void running_pulls_give_back_later(struct running_pulls *running, const char *pull_id);
/* Tells it; what fails is tried again at the next call. */
void running_pulls_give_back(struct running_pulls *running, struct catalogue *catalogue,
                             const char *node_id);

#endif
