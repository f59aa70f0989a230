/* Requests that wait for a pull (`Prefer: wait=N`) or follow one (pull_events.h): one
 * thread looks after all of them, so that no worker waits. It hears at once of pulls that end on
 * this node, and asks the catalogue now and then about those that other nodes run, and for the
 * progress of those that are followed. */
#ifndef LARDER_SERVER_PULL_WATCH_H
#define LARDER_SERVER_PULL_WATCH_H

#include "server/request.h"

struct pull_watch;

/* `resume` is called, on the watch's thread, for each request that is answered, or
 * whose stream has something to send. */
[[nodiscard]] struct pull_watch *
pull_watch_start(struct node *node, void (*resume)(struct request *request), struct error *error);

/* Takes a request whose `wait` says which pull and how long; it is answered when the
 * pull ends, the time is over or the watch stops. Any thread. */
void pull_watch_add(struct pull_watch *watch, struct request *request);

/* That pull may have ended; `context` is the struct pull_watch. Any thread. */
void pull_watch_note_end(void *context, const char *pull_id);

/* Answers all that still wait, now, and whatever comes later at once. */
void pull_watch_hurry(struct pull_watch *watch);

/* Hurries, joins, frees. Nobody may add any more. NULL is fine. */
void pull_watch_stop(struct pull_watch *watch);

#endif
