/* The thread that asks, now and then, whether a sweep is due (store/sweep.h), and logs what
 * came of it. */
#ifndef LARDER_SERVER_SWEEP_THREAD_H
#define LARDER_SERVER_SWEEP_THREAD_H

#include "store/error.h"

struct node;
struct sweep_thread;

/* The node outlives it, and has its reaper. */
[[nodiscard]] struct sweep_thread *sweep_thread_start(const struct node *node, struct error *error);

/* Ends a sweep that runs, joins, frees. NULL is fine. */
void sweep_thread_stop(struct sweep_thread *sweeper);

#endif
