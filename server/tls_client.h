/* The authority of clients' certificates, and what one of theirs says. For tls.c alone. */
#ifndef LARDER_SERVER_TLS_CLIENT_H
#define LARDER_SERVER_TLS_CLIENT_H

#include "server/identity.h"

#include <gnutls/gnutls.h>

struct tls_client_ca; /* opaque */

/* Of a file of PEM certificates, called `path` in errors. */
[[nodiscard]] struct tls_client_ca *tls_client_ca_load(const char *path, const gnutls_datum_t *file,
                                                       struct error *error);
void tls_client_ca_free(struct tls_client_ca *authority);

/* Is the certificate that the peer showed, and whose key it has, signed by the authority,
 * for clients, and valid now? Then its one common name. */
[[nodiscard]] bool tls_client_ca_verify(struct tls_client_ca *authority, gnutls_session_t session,
                                        char name[IDENTITY_NAME_SIZE]);

#endif
