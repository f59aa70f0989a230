/* Who a request is from, and what that one may do. */
#ifndef LARDER_SERVER_IDENTITY_H
#define LARDER_SERVER_IDENTITY_H

#include "store/error.h"

#include <stdbool.h>

enum { IDENTITY_NAME_SIZE = 255 + 1 }; /* as long as a sandbox's host may be */

/* Each may all that the ones before it may. */
enum role {
    ROLE_UNSAID = 0, /* of a route: nobody may, so that none is open by mistake */
    ROLE_ANYBODY,
    ROLE_READER, /* GET */
    ROLE_HOST,   /* pull; register and release its own sandboxes */
    ROLE_ADMIN,
};

/* How somebody was told from others. */
enum identity_source {
    IDENTITY_NOBODY,      /* not at all */
    IDENTITY_OPEN,        /* the node asks nobody who they are */
    IDENTITY_TOKEN,       /* a bearer token */
    IDENTITY_CERTIFICATE, /* a client's certificate */
    IDENTITY_SOCKET,      /* the user at the other end of a unix socket */
};

struct identity {
    enum role role;
    enum identity_source source;
    char name[IDENTITY_NAME_SIZE]; /* of a host: its sandboxes' `host`; "" for nobody */
};

/* "reader", "host", "admin". */
[[nodiscard]] const char *role_name(enum role role);
/* One of those three. Fails with ERROR_INVALID_ARGUMENT that lists them. */
[[nodiscard]] bool role_parse(const char *text, enum role *role, struct error *error);

/* "token", "certificate", …; for the log. */
[[nodiscard]] const char *identity_source_name(enum identity_source source);

/* Letters, digits and any of `._:@-`, 1 to 255. */
[[nodiscard]] bool identity_name_is_valid(const char *name);

#endif
