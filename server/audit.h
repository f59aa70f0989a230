/* The audit log: one line for each request that would change something, also when it was
 * refused, and one for each part of it that has an outcome of its own: who, how that was known,
 * what, and how it ended. Lines of the node's log whose event is "audit". */
#ifndef LARDER_SERVER_AUDIT_H
#define LARDER_SERVER_AUDIT_H

#include "server/request.h"

/* One of several changes that a request asks for. */
struct audit_part {
    const char *object; /* its path, not encoded */
    const char *reference;
    const char *detail;
    unsigned status;
    struct audit_part *next;
};

/* Copies the part, but for its texts, which are in the request's arena. */
void audit_add_part(struct request *request, const struct audit_part *part);

/* Of a request that is over; nothing for GET and HEAD. `remote` is the other end, for people. */
void audit_request(const struct request *request, const char *remote);

#endif
