/* The thread that scrubs (store/scrub.h), and logs what was damaged. */
#ifndef LARDER_SERVER_SCRUB_THREAD_H
#define LARDER_SERVER_SCRUB_THREAD_H

#include "server/periodic.h"

struct node;

/* The node outlives it. With --scrub-bytes-per-second=0 there is none, and *scrubber is NULL. */
[[nodiscard]] bool scrub_thread_start(struct node *node, struct periodic **scrubber,
                                      struct error *error);

#endif
