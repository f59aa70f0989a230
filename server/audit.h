/* The audit log: one line for each request that would change something, also when it was
 * refused: who, how that was known, what, and how it ended. Lines of the node's log whose
 * event is "audit". */
#ifndef LARDER_SERVER_AUDIT_H
#define LARDER_SERVER_AUDIT_H

#include "server/request.h"

/* Of a request that is over; nothing for GET and HEAD. `remote` is the other end, for people. */
void audit_request(const struct request *request, const char *remote);

#endif
