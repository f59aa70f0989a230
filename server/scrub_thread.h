/* The thread that scrubs (store/scrub.h), and logs what was damaged. */
#ifndef LARDER_SERVER_SCRUB_THREAD_H
#define LARDER_SERVER_SCRUB_THREAD_H

#include "store/error.h"

struct node;
struct scrub_thread;

/* The node outlives it. With --scrub-bytes-per-second=0 there is none, and *scrubber is NULL. */
[[nodiscard]] bool scrub_thread_start(const struct node *node, struct scrub_thread **scrubber,
                                      struct error *error);

/* Ends the file that is being read, joins, frees. NULL is fine. */
void scrub_thread_stop(struct scrub_thread *scrubber);

#endif
