/* Who the users at the other end of a unix socket are: root and the node's own user are
 * admins; --unix-user names others. Never changed; any thread. */
#ifndef LARDER_SERVER_UNIX_USERS_H
#define LARDER_SERVER_UNIX_USERS_H

#include "server/identity.h"
#include "server/options.h"
#include "server/peer.h"

struct unix_users; /* opaque */

/* Each value is `USER=ROLE[:NAME]`: a user's name or number, and who that is here: by
 * default the user's name. Fails with ERROR_INVALID_ARGUMENT. */
[[nodiscard]] struct unix_users *unix_users_new(const struct option_list *values,
                                                struct error *error);
void unix_users_free(struct unix_users *users);

[[nodiscard]] bool unix_users_find(const struct unix_users *users, const struct peer *peer,
                                   struct identity *identity);

#endif
