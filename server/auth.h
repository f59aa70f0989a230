/* Who may do what: a request's bearer token, or its peer, becomes an identity with a role,
 * which is held against the role that its route wants (routes.c).
 *
 * Without --tokens, TCP listeners are open: serve.c lets that be on loopback alone, or with
 * --no-auth. A unix socket tells who is at its other end: root and the node's own user are
 * admins, others need --unix-user or a token.
 *
 * Any thread; auth_reload() too.
 */
#ifndef LARDER_SERVER_AUTH_H
#define LARDER_SERVER_AUTH_H

#include "server/options.h"
#include "server/request.h"

struct auth; /* opaque */

/* Reads the tokens file. Fails with ERROR_INVALID_ARGUMENT. */
[[nodiscard]] struct auth *auth_new(const struct options *options, struct error *error);
void auth_free(struct auth *auth);

/* Reads the tokens file again; when that fails, the tokens stay as they were. */
[[nodiscard]] bool auth_reload(struct auth *auth, struct error *error);

/* Fills request->who and says whether it may what its route is for. Fails with
 * ERROR_UNAUTHORIZED (request->challenge is then the header's value), ERROR_FORBIDDEN,
 * which says what was missing, or ERROR_TOO_MANY_REQUESTS after many wrong tokens. */
[[nodiscard]] bool auth_check(struct request *request, struct error *error);

/* The only host whose sandboxes the request may touch; NULL: any. */
[[nodiscard]] const char *auth_only_host(const struct request *request);

/* May it touch what belongs to this host? Else ERROR_FORBIDDEN. */
[[nodiscard]] bool auth_check_host(struct request *request, const char *host, struct error *error);

#endif
