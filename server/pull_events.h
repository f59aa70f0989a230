/* /pulls/{id}/events: a pull as server-sent events (HTML standard, 9.2).
 *
 * The stream's connection is suspended while there is nothing to say; then its
 * request is the pull watch's, as that of one who waits. */
#ifndef LARDER_SERVER_PULL_EVENTS_H
#define LARDER_SERVER_PULL_EVENTS_H

#include "server/request.h"
#include "store/catalogue/pulls.h"

/* The event that tells how a pull is now; the same for all who follow it. */
struct pull_event {
    const char *name; /* "progress", "done", "failed", "cancelled" */
    bool is_last;
    struct json_writer data; /* owned; free it with json_writer_free() */
    struct digest digest;    /* of the data */
};

/* What it needs while it writes comes from the arena. */
void pull_event_write(struct node *node, struct arena *arena, const struct pull *pull,
                      struct pull_event *event);

/* A look at the pull: how it is, NULL when it could not be read or, with `is_gone`, is
 * not there any more; `hurry` ends the stream, as does a client that left. True when the
 * connection has something to do. */
[[nodiscard]] bool pull_events_look(struct request *request, const struct pull_event *event,
                                    bool is_gone, bool hurry);

#endif
