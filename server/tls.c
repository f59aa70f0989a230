#include "server/tls.h"

#include "server/clock.h"
#include "server/small_file.h"
#include "server/tls_client.h"

#include <gnutls/abstract.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    FILE_MAX_BYTES = 1 << 20,
    CHAIN_MAX = 16,
};

/* 1.2 and up. No key is used to decrypt: who has it later reads nothing of before. */
static const char priorities[] =
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:%SERVER_PRECEDENCE";

/* A certificate with its chain, and the key. */
struct credential {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned chain_length;
    gnutls_privkey_t key;
    struct credential *next; /* retired before it */
    int64_t retired_us;
};

struct tls {
    const char *cert_path;
    const char *key_path;
    const char *client_ca_path; /* NULL: clients are not asked */
    struct arena arena;
    const char *client_ca; /* as it was at the start, for libmicrohttpd, which asks by it */
    atomic_uint generation;
    pthread_mutex_t lock; /* guards what follows */
    struct credential *credential;
    struct credential *retired;      /* newest first: handshakes may still use them */
    struct tls_client_ca *authority; /* NULL without a path */
};

static struct tls *the_tls; /* of the process: GnuTLS's callback knows no other way to it */

static bool refuse(struct error *error, const char *path, int code)
{
    return error_set(error, ERROR_INVALID_ARGUMENT, "%s cannot be used: %s", path,
                     gnutls_strerror(code));
}

static bool read_file(const char *path, mode_t forbidden, struct arena *arena,
                      gnutls_datum_t *datum, struct error *error)
{
    struct small_file file;
    if (!small_file_read(path, FILE_MAX_BYTES, forbidden, arena, &file, error))
        return error_context(error, "%s cannot be used", path);
    /* GnuTLS does not write to what it imports. */
    *datum = (gnutls_datum_t){(unsigned char *)(uintptr_t)file.bytes, (unsigned)file.size};
    return true;
}

/* --- the node's own certificate --- */

static void credential_free(struct credential *credential)
{
    if (!credential)
        return;
    for (unsigned i = 0; i < credential->chain_length; i++)
        gnutls_pcert_deinit(&credential->chain[i]);
    if (credential->key)
        gnutls_privkey_deinit(credential->key);
    free(credential);
}

static void free_retired(struct credential *retired)
{
    while (retired) {
        struct credential *next = retired->next;
        credential_free(retired);
        retired = next;
    }
}

/* GnuTLS checks it only for credentials of its own. */
static int check_pair(const gnutls_datum_t *certificate, const gnutls_datum_t *key)
{
    gnutls_certificate_credentials_t pair;
    int code = gnutls_certificate_allocate_credentials(&pair);
    if (code < 0)
        return code;
    code = gnutls_certificate_set_x509_key_mem(pair, certificate, key, GNUTLS_X509_FMT_PEM);
    gnutls_certificate_free_credentials(pair);
    return code < 0 ? code : 0;
}

static struct credential *credential_load(const struct tls *tls, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    gnutls_datum_t certificate;
    gnutls_datum_t key;
    if (!read_file(tls->cert_path, S_IWOTH, &arena, &certificate, error) ||
        !read_file(tls->key_path, S_IWOTH | S_IROTH, &arena, &key, error))
        return NULL;
    struct credential *credential = calloc(1, sizeof(*credential));
    if (!credential)
        abort(); /* out of memory */
    const char *path = tls->cert_path;
    unsigned length = CHAIN_MAX;
    int code = gnutls_pcert_list_import_x509_raw(credential->chain, &length, &certificate,
                                                 GNUTLS_X509_FMT_PEM, 0);
    if (code >= 0) {
        credential->chain_length = length;
        path = tls->key_path;
        code = check_pair(&certificate, &key);
    }
    if (code >= 0)
        code = gnutls_privkey_init(&credential->key);
    if (code >= 0)
        code = gnutls_privkey_import_x509_raw(credential->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (code >= 0)
        return credential;
    credential_free(credential);
    refuse(error, path, code);
    return NULL;
}

/* Each handshake asks for it, and keeps it until its end: also while it waits for the client, which
 * may have been told to send its first message again (RFC 8446, section 4.1.4). */
static int retrieve(gnutls_session_t session, const gnutls_datum_t *authorities,
                    int authority_count, const gnutls_pk_algorithm_t *algorithms,
                    int algorithm_count, gnutls_pcert_st **chain, unsigned *length,
                    gnutls_privkey_t *key)
{
    (void)session, (void)authorities, (void)authority_count;
    (void)algorithms, (void)algorithm_count;
    pthread_mutex_lock(&the_tls->lock);
    *chain = the_tls->credential->chain;
    *length = the_tls->credential->chain_length;
    *key = the_tls->credential->key;
    pthread_mutex_unlock(&the_tls->lock);
    return 0;
}

/* --- loading --- */

static struct tls_client_ca *authority_load(const struct tls *tls, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    gnutls_datum_t file;
    if (!read_file(tls->client_ca_path, S_IWOTH, &arena, &file, error))
        return NULL;
    return tls_client_ca_load(tls->client_ca_path, &file, error);
}

/* With the lock held: takes out those whose last handshake has ended. */
static struct credential *take_unused(struct tls *tls, int64_t now_us)
{
    struct credential **slot = &tls->retired;
    while (*slot && now_us - (*slot)->retired_us < TLS_HANDSHAKE_MAX_US)
        slot = &(*slot)->next;
    struct credential *unused = *slot;
    *slot = NULL;
    return unused;
}

static void install_credential(struct tls *tls, struct credential *credential)
{
    pthread_mutex_lock(&tls->lock);
    struct credential *former = tls->credential;
    tls->credential = credential;
    if (former) {
        former->retired_us = clock_now_us();
        former->next = tls->retired;
        tls->retired = former;
    }
    struct credential *unused = take_unused(tls, clock_now_us());
    pthread_mutex_unlock(&tls->lock);
    free_retired(unused);
}

static void install_authority(struct tls *tls, struct tls_client_ca *authority)
{
    pthread_mutex_lock(&tls->lock);
    struct tls_client_ca *former = tls->authority;
    tls->authority = authority;
    pthread_mutex_unlock(&tls->lock);
    atomic_fetch_add(&tls->generation, 1);
    tls_client_ca_free(former);
}

unsigned tls_generation(const struct tls *tls)
{
    return atomic_load(&tls->generation);
}

static bool reload_credential(struct tls *tls, struct error *error)
{
    struct credential *credential = credential_load(tls, error);
    if (credential)
        install_credential(tls, credential);
    return credential;
}

static bool reload_authority(struct tls *tls, struct error *error)
{
    if (!tls->client_ca_path)
        return true;
    struct tls_client_ca *authority = authority_load(tls, error);
    if (authority)
        install_authority(tls, authority);
    return authority;
}

/* A certificate that is broken does not keep an authority that was taken out. */
bool tls_reload(struct tls *tls, struct error *error)
{
    struct error second;
    if (!tls)
        return true;
    bool good = reload_credential(tls, error);
    return reload_authority(tls, good ? error : &second) && good;
}

static bool check_options(const struct options *options, struct error *error)
{
    if (!options->tls_cert != !options->tls_key)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "--tls-cert and --tls-key belong together: one is missing");
    if (options->tls_client_ca && (!options->tls_cert || !options->tokens))
        return error_set(
            error, ERROR_INVALID_ARGUMENT,
            "--tls-client-ca needs --tls-cert and --tls-key, and --tokens, whose lines "
            "say what a certificate's name may do");
    return true;
}

static bool read_client_ca(struct tls *tls, struct error *error)
{
    gnutls_datum_t file;
    if (!tls->client_ca_path)
        return true;
    if (!read_file(tls->client_ca_path, S_IWOTH, &tls->arena, &file, error))
        return false;
    tls->client_ca = (const char *)file.data;
    return true;
}

bool tls_open(const struct options *options, struct tls **tls, struct error *error)
{
    *tls = NULL;
    if (!check_options(options, error) || !options->tls_cert)
        return !options->tls_cert && check_options(options, error);
    struct tls *fresh = calloc(1, sizeof(*fresh));
    if (!fresh)
        abort(); /* out of memory */
    fresh->cert_path = options->tls_cert;
    fresh->key_path = options->tls_key;
    fresh->client_ca_path = options->tls_client_ca;
    pthread_mutex_init(&fresh->lock, NULL);
    if (!read_client_ca(fresh, error) || !tls_reload(fresh, error)) {
        tls_close(fresh);
        return false;
    }
    *tls = the_tls = fresh;
    return true;
}

void tls_close(struct tls *tls)
{
    if (!tls)
        return;
    credential_free(tls->credential);
    free_retired(tls->retired);
    tls_client_ca_free(tls->authority);
    arena_free(&tls->arena);
    pthread_mutex_destroy(&tls->lock);
    if (the_tls == tls)
        the_tls = NULL;
    free(tls);
}

/* --- using --- */

void tls_daemon_options(const struct tls *tls, struct MHD_OptionItem options[TLS_OPTIONS_MAX])
{
    size_t count = 0;
    options[count++] =
        (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities};
    options[count++] =
        (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)retrieve};
    if (tls->client_ca)
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0,
                                                   (void *)(uintptr_t)tls->client_ca};
    options[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

bool tls_client_name(struct tls *tls, struct MHD_Connection *connection,
                     char name[IDENTITY_NAME_SIZE])
{
    if (!tls->client_ca_path)
        return false;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (!info || !info->tls_session)
        return false;
    pthread_mutex_lock(&tls->lock);
    bool good = tls_client_ca_verify(tls->authority, info->tls_session, name);
    pthread_mutex_unlock(&tls->lock);
    return good;
}
