/* A client of OCI distribution registries (distribution-spec, "Pull"; Docker's token
 * authentication) on libcurl.
 *
 * One client serves a whole node: operations run on the caller's thread, each with a
 * connection of its own, and any number of them at once. They block; `cancel`, when
 * not NULL, ends one within a moment with ERROR_PULL_CANCELLED.
 *
 * Credentials come from Docker's config file, read again for each new token. They go to
 * the registry itself and, for a token, to a realm on its host, on one below the same
 * registered domain over TLS, or on one that --allow-registry names; any other realm is
 * asked anonymously. Over plain HTTP only where that is allowed for registry and realm. No
 * redirect carries them to another origin, and no redirect leads from https to http. They
 * are in no error message, not even when the registry's refusal, its Content-Type or its broken
 * JSON repeat them.
 *
 * No registry, redirect or token realm is fetched from at a loopback, link-local or private
 * address, unless --insecure-registry, --registry-mirror or (without a wildcard)
 * --allow-registry names its host; or the registry is loopback by its own name, and so is
 * where it leads (reach.h).
 *
 * Connections that fail and answers 408, 429 and 5xx are tried again a few times, with
 * growing, jittered pauses or the registry's Retry-After. What stays wrong:
 *
 *     ERROR_REGISTRY_NOT_ALLOWED    not among the allowed registries, or at such an address;
 *                                   nothing was sent
 *     ERROR_REGISTRY_UNAUTHORIZED   401 or 403, also from the token realm
 *     ERROR_IMAGE_NOT_FOUND         404 for a manifest
 *     ERROR_TOO_MANY_REQUESTS       429, with retry_after_seconds when it was said
 *     ERROR_DIGEST_MISMATCH         other content, or another size, than was asked for
 *     ERROR_PULL_FAILED             anything else, with the registry's own words
 *
 * TLS certificates are checked against the system's authorities and those of ca_path, or of the
 * file in $SSL_CERT_FILE; proxies come from $https_proxy, $http_proxy and $no_proxy, never
 * for loopback. registry_status is the HTTP status when there was one. The process must ignore
 * SIGPIPE.
 */
#ifndef LARDER_STORE_REGISTRY_REGISTRY_CLIENT_H
#define LARDER_STORE_REGISTRY_REGISTRY_CLIENT_H

#include "store/arena.h"
#include "store/digest.h"
#include "store/error.h"
#include "store/reference.h"
#include "store/registry/manifest.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Asked before `registry`, which is asked when the mirror fails. */
struct registry_mirror {
    char registry[REFERENCE_REGISTRY_SIZE]; /* canonical */
    char host[REFERENCE_REGISTRY_SIZE];     /* of the mirror, `host[:port]` */
    bool is_plain;                          /* spoken to over plain HTTP */
};

/* `docker.io=http://mirror:5000`. Fails with ERROR_INVALID_ARGUMENT. */
[[nodiscard]] bool registry_mirror_parse(const char *text, struct registry_mirror *mirror,
                                         struct error *error);

struct registry_config {
    /* Certificates that are trusted beside the system's, PEM. NULL: $SSL_CERT_FILE */
    const char *ca_path;
    /* NULL: $DOCKER_CONFIG/config.json, else ~/.docker/config.json */
    const char *docker_config_path;
    /* Spoken to over plain HTTP, as loopback always is: `host:port`, or `host` for every
     * port of it. */
    const char *const *insecure_registries;
    size_t insecure_registry_count;
    /* Globs of the registries that may be pulled from, against the canonical name
     * (`docker.io`, `*.example.com:5000`); none means all. */
    const char *const *allowed_registries;
    size_t allowed_registry_count;
    /* Who may ask for a pull need not be somebody of this machine: a registry on loopback is
     * pulled from only where one of the lists above or below names it. */
    bool loopback_must_be_named;
    const struct registry_mirror *mirrors; /* in order; the first four of a registry count */
    size_t mirror_count;
    unsigned connect_timeout_seconds; /* 0: 10 */
    unsigned stall_timeout_seconds;   /* 0: 30; a transfer slower than 1 KiB/s is broken off */
    unsigned max_attempts;            /* 0: 5; in a row without a byte of progress */
};

struct registry_client; /* opaque; any thread */

/* Copies what it needs of the config. Touches neither network nor files. */
[[nodiscard]] struct registry_client *registry_client_new(const struct registry_config *config)
    __attribute__((returns_nonnull));

/* No operation may be running. NULL is fine. */
void registry_client_free(struct registry_client *client);

/* A manifest, an index or a config as it was sent. */
struct registry_document {
    char media_type[MEDIA_TYPE_SIZE]; /* of the Content-Type, normalised; "" when unknown */
    const char *bytes;                /* in the caller's arena, with a NUL after them */
    size_t size_bytes;
    struct digest digest; /* computed */
};

/* Fails with ERROR_REGISTRY_NOT_ALLOWED. The operations below check it themselves. */
[[nodiscard]] bool registry_check_allowed(const struct registry_client *client,
                                          const struct reference *reference, struct error *error);

/* The manifest or index that the reference's digest, or else its tag, names now. What
 * was asked for by digest is checked against it. */
[[nodiscard]] bool registry_fetch_manifest(struct registry_client *client,
                                           const struct reference *reference, struct arena *arena,
                                           const atomic_bool *cancel,
                                           struct registry_document *document, struct error *error);

/* As registry_fetch_manifest, of the reference's repository but by that digest: the
 * entry of an index. */
[[nodiscard]] bool registry_fetch_manifest_by_digest(struct registry_client *client,
                                                     const struct reference *reference,
                                                     const struct digest *digest,
                                                     struct arena *arena, const atomic_bool *cancel,
                                                     struct registry_document *document,
                                                     struct error *error);

/* The digest that the reference names now, with HEAD: for "is it still the same?". */
[[nodiscard]] bool registry_resolve(struct registry_client *client,
                                    const struct reference *reference, const atomic_bool *cancel,
                                    struct digest *digest, struct error *error);

/* A small blob, such as the image config: at most JSON_DOCUMENT_MAX_BYTES, checked
 * against the descriptor's size and digest. */
[[nodiscard]] bool registry_fetch_config(struct registry_client *client,
                                         const struct reference *reference,
                                         const struct descriptor *descriptor, struct arena *arena,
                                         const atomic_bool *cancel,
                                         struct registry_document *document, struct error *error);

/* Takes the next bytes of a blob, in order and each once. May block, which slows the
 * download. False with an error ends it. */
typedef bool registry_sink(void *context, const void *bytes, size_t size_bytes,
                           struct error *error);

/* The mirrors come first, or are passed over: one that serves other bytes than its digest says
 * is noticed when all of them are there. */
enum blob_source { BLOB_FROM_MIRRORS, BLOB_FROM_REGISTRY };

/* Whether there is a mirror for this reference. */
[[nodiscard]] bool registry_has_mirror(const struct registry_client *client,
                                       const struct reference *reference);

/* Streams a blob into the sink: exactly the descriptor's size, or a failure. A dropped
 * connection resumes where it stopped. The caller checks the digest: bytes reach the
 * sink before the last is known. */
[[nodiscard]] bool registry_fetch_blob(struct registry_client *client,
                                       const struct reference *reference,
                                       const struct descriptor *descriptor, enum blob_source from,
                                       registry_sink *sink, void *context,
                                       const atomic_bool *cancel, struct error *error);

/* An error of an operation above, or of reading what it brought, may quote the registry or a
 * mirror, and they may repeat what the client showed them: each secret of 8 bytes and more becomes
 * `***`. To be done before anybody sees the error. */
void registry_withhold_secrets(struct registry_client *client, const struct reference *reference,
                               struct error *error);

#endif
