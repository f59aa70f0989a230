#include "server/tls_client.h"

#include "store/cleanup.h"

#include <gnutls/x509.h>
#include <string.h>

enum { CHAIN_MAX = 8 };

struct tls_client_ca {
    gnutls_x509_trust_list_t list;
};

struct tls_client_ca *tls_client_ca_load(const char *path, const gnutls_datum_t *file,
                                         struct error *error)
{
    struct tls_client_ca *authority = calloc(1, sizeof(*authority));
    if (!authority || gnutls_x509_trust_list_init(&authority->list, 0) < 0)
        abort(); /* out of memory */
    int count = gnutls_x509_trust_list_add_trust_mem(authority->list, file, NULL,
                                                     GNUTLS_X509_FMT_PEM, 0, 0);
    if (count > 0)
        return authority;
    tls_client_ca_free(authority);
    error_set(error, ERROR_INVALID_ARGUMENT, "%s cannot be used: %s", path,
              count < 0 ? gnutls_strerror(count) : "there is no certificate in it");
    return NULL;
}

void tls_client_ca_free(struct tls_client_ca *authority)
{
    if (!authority)
        return;
    gnutls_x509_trust_list_deinit(authority->list, 1);
    free(authority);
}

/* Two common names, or one with a NUL in it, may be read in two ways. */
static bool read_name(gnutls_x509_crt_t certificate, char name[IDENTITY_NAME_SIZE])
{
    char second[1];
    size_t size = IDENTITY_NAME_SIZE;
    size_t none = sizeof(second);
    int code =
        gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size);
    bool is_one = code >= 0 && size == strlen(name) && identity_name_is_valid(name);
    return is_one &&
           gnutls_x509_crt_get_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 1, 0, second,
                                         &none) == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
}

static bool verify_chain(const struct tls_client_ca *authority, gnutls_x509_crt_t *chain,
                         unsigned count)
{
    unsigned status = 0;
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char[]){GNUTLS_KP_TLS_WWW_CLIENT}};
    return gnutls_x509_trust_list_verify_crt2(authority->list, chain, count, &purpose, 1, 0,
                                              &status, NULL) >= 0 &&
           status == 0;
}

bool tls_client_ca_verify(struct tls_client_ca *authority, gnutls_session_t session,
                          char name[IDENTITY_NAME_SIZE])
{
    gnutls_x509_crt_t chain[CHAIN_MAX];
    unsigned count = 0;
    unsigned shown = 0;
    const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &shown);
    bool good = peers && shown > 0 && shown <= CHAIN_MAX;
    for (; good && count < shown; count++) {
        if (gnutls_x509_crt_init(&chain[count]) < 0)
            abort(); /* out of memory */
        if (gnutls_x509_crt_import(chain[count], &peers[count], GNUTLS_X509_FMT_DER) < 0)
            good = false;
    }
    good = good && verify_chain(authority, chain, count) && read_name(chain[0], name);
    while (count > 0)
        gnutls_x509_crt_deinit(chain[--count]);
    return good;
}
