/* The thread that asks, now and then, whether a sweep is due (store/sweep.h), and logs what
 * came of it. */
#ifndef LARDER_SERVER_SWEEP_THREAD_H
#define LARDER_SERVER_SWEEP_THREAD_H

#include "server/periodic.h"

struct node;

/* The node outlives it, and has its reaper. */
[[nodiscard]] struct periodic *sweep_thread_start(struct node *node, struct error *error);

#endif
