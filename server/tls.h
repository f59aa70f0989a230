/* What TLS needs: the node's certificate and key, and the authority of clients' own
 * certificates. Read again on SIGHUP; connections that are open go on as they are.
 *
 * libmicrohttpd does the talking, with GnuTLS, which asks for the certificate through a
 * callback that knows nothing but the session: so there is one of these in a process.
 */
#ifndef LARDER_SERVER_TLS_H
#define LARDER_SERVER_TLS_H

#include "server/identity.h"
#include "server/options.h"

#include <microhttpd.h>
#include <stddef.h>

struct tls; /* opaque; any thread */

enum {
    TLS_OPTIONS_MAX = 4,
    /* Whoever serves ends a handshake before: a reload frees what older ones may have used. */
    TLS_HANDSHAKE_MAX_US = 120 * 1000 * 1000,
};

/* --tls-cert, --tls-key and --tls-client-ca. *tls is NULL when none is given. Fails with
 * ERROR_INVALID_ARGUMENT, also when certificate and key do not belong together. */
[[nodiscard]] bool tls_open(const struct options *options, struct tls **tls, struct error *error);
/* No connection may be open any more. NULL is fine. */
void tls_close(struct tls *tls);

/* What cannot be used stays as it was. NULL is fine. */
[[nodiscard]] bool tls_reload(struct tls *tls, struct error *error);

/* Another number after each change of the authority. */
[[nodiscard]] unsigned tls_generation(const struct tls *tls);

/* What a daemon with MHD_USE_TLS is started with, ended by MHD_OPTION_END. */
void tls_daemon_options(const struct tls *tls, struct MHD_OptionItem options[TLS_OPTIONS_MAX]);

/* The common name of the client's certificate; false when it showed none, or none that the
 * authority signed for clients and that is valid now. Of the connection's loop. */
[[nodiscard]] bool tls_client_name(struct tls *tls, struct MHD_Connection *connection,
                                   char name[IDENTITY_NAME_SIZE]);

#endif
