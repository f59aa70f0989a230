/* The pulls that run on a node: on the puller's threads, and on those of loads. Whoever
 * cancels one, or stops the node, finds its task here. Thread-safe.
 *
 * A row that names the node and has no task here is run by nobody: the node was given it by an
 * answer that got lost, or could not write down its end. It is given back to the queue. */
#ifndef LARDER_STORE_PULL_RUNNING_PULLS_H
#define LARDER_STORE_PULL_RUNNING_PULLS_H

#include "store/pull/pull_task.h"

struct running_pulls {
    /* Shared by who takes a row, until its task is here; alone: no row is on its way here. Held
     * while the catalogue is asked, unlike any other lock: what it keeps still is the rows. */
    pthread_rwlock_t taking;
    pthread_mutex_t mutex;   /* guards what follows; taken last */
    struct pull_task *first; /* linked by their next_running; their threads' own */
    bool stopping;           /* whatever comes is stopped at once */
    bool loads_stopping;     /* so are loads */
};

void running_pulls_init(struct running_pulls *running);
void running_pulls_free(struct running_pulls *running);

/* Around each call that makes a row this node's and the adding of its task. */
void running_pulls_begin_taking(struct running_pulls *running);
void running_pulls_end_taking(struct running_pulls *running);

void running_pulls_add(struct running_pulls *running, struct pull_task *task);
/* Once its end is written down, or is to be given back. */
void running_pulls_remove(struct running_pulls *running, struct pull_task *task);

/* The ids of the pulls that run here at this moment. */
void running_pulls_list(struct running_pulls *running, struct arena *arena, struct id_list *ids);
/* Stops the task of that pull, if it runs here; `cancelled` says that somebody asked for it, and
 * stops the others of its load, too. */
void running_pulls_stop(struct running_pulls *running, const char *pull_id, bool cancelled);
/* Stops all, or all loads, also those that come later. */
void running_pulls_stop_all(struct running_pulls *running);
void running_pulls_stop_loads(struct running_pulls *running);
[[nodiscard]] bool running_pulls_are_loads_stopping(struct running_pulls *running);

/* Gives back the rows that name the node and have no task here; how many. Those of a moment in
 * which a row is on its way here, or the catalogue is away, are given back by the next call. */
size_t running_pulls_give_back(struct running_pulls *running, struct catalogue *catalogue,
                               const char *node_id);

#endif
