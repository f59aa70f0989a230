/* /pulls/{id}/events: a pull as server-sent events (HTML standard, 9.2).
 *
 * The stream's connection is suspended while there is nothing to say; then its
 * request is the pull watch's, as that of one who waits. */
#ifndef LARDER_SERVER_PULL_EVENTS_H
#define LARDER_SERVER_PULL_EVENTS_H

#include "server/request.h"
#include "store/catalogue/pulls.h"

/* A look at the pull, NULL when it could not be read or, with `is_gone`, is not there
 * any more; `hurry` ends the stream. True when there is something to send. */
[[nodiscard]] bool pull_events_look(struct request *request, const struct pull *pull, bool is_gone,
                                    bool hurry);

#endif
