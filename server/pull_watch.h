/* Requests that wait for a pull (`Prefer: wait=N`) or follow one (pull_events.h): one
 * thread looks after all of them, so that no worker waits. */
#ifndef LARDER_SERVER_PULL_WATCH_H
#define LARDER_SERVER_PULL_WATCH_H

#include "server/request.h"

struct pull_watch;

/* `resume` is called, on the watch's thread, for each request that is answered, or
 * whose stream has something to send. */
[[nodiscard]] struct pull_watch *pull_watch_start(void (*resume)(struct request *request),
                                                  struct error *error);

/* Takes a request whose `wait` says which pull and how long; it is answered when the
 * pull ends, the time is over or the watch stops. Any thread. */
void pull_watch_add(struct pull_watch *watch, struct request *request);

/* Answers all that still wait, now, and whatever comes later at once. */
void pull_watch_hurry(struct pull_watch *watch);

/* Hurries, joins, frees. Nobody may add any more. NULL is fine. */
void pull_watch_stop(struct pull_watch *watch);

#endif
