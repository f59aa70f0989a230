/* What the files of the registry client share; included by nobody else.
 *
 *     registry_fetch.c, registry_blob.c   operations
 *         registry_request.c              attempts, authorization, pauses
 *             token.c, grant.c            authorizations: getting and remembering them
 *             exchange.c                  one request: redirects, headers, body
 *             words.c                     what the registry says to a refusal
            secrets.c                   what no error may repeat
 *                 line.c                  libcurl, and its open connections
 */
#ifndef LARDER_STORE_REGISTRY_REGISTRY_INTERNAL_H
#define LARDER_STORE_REGISTRY_REGISTRY_INTERNAL_H

#include "store/excerpt.h"
#include "store/registry/challenge.h"
#include "store/registry/origin.h"
#include "store/registry/rate_limit.h"
#include "store/registry/registry_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdint.h>

enum {
    IDLE_LINES_MAX = 16,     /* kept with their open connections */
    GRANTS_MAX = 256,        /* repositories whose authorization is remembered */
    SECRETS_MAX = 256,       /* a token may have 64 KiB */
    SECRETS_OF_ONE_MAX = 32, /* registry */
    ERROR_BODY_MAX = 4096,   /* of an error's body, read for its message */
    REDIRECTS_MAX = 5,
    SOURCES_MAX = 5, /* four mirrors and the registry */
    DOCUMENT_TIMEOUT_SECONDS = 60,
};

struct grant;  /* grant.c */
struct secret; /* secrets.c */

struct registry_client {
    /* never changed after registry_client_new(); owned */
    char *docker_config_path;
    char **insecure_registries; /* NULL-terminated, lower case, as the next one */
    char **allowed_registries;
    struct registry_mirror *mirrors;
    size_t mirror_count;
    bool loopback_must_be_named;
    char *ca_file; /* NULL: the system's */
    unsigned connect_timeout_seconds;
    unsigned stall_timeout_seconds;
    unsigned max_attempts;

    /* Guards the fields below; never held across I/O. */
    pthread_mutex_t lock;
    struct line *idle_lines[IDLE_LINES_MAX];
    size_t idle_line_count;
    struct grant *grants;   /* newest first */
    struct secret *secrets; /* that were shown, the last one first */
};

/* One request at a time, and the connections that stay open for the next. */
struct line {
    CURL *easy;   /* owned; the request */
    CURLM *multi; /* owned; the connections */
};

[[nodiscard]] struct line *line_take(struct registry_client *client)
    __attribute__((returns_nonnull));
void line_return(struct registry_client *client, struct line *line);
void line_free(struct line *line); /* NULL is fine */

/* As curl_easy_perform(), but a cancel ends it within 0.1 s: CURLE_ABORTED_BY_CALLBACK. */
[[nodiscard]] CURLcode line_perform(struct line *line, const atomic_bool *cancel);

/* Where a registry's API is. */
struct endpoint {
    char base[ORIGIN_HOST_SIZE + 16]; /* `https://registry-1.docker.io` */
    bool is_plain;
};

void endpoint_of(const struct registry_client *client, const char *registry,
                 struct endpoint *endpoint);

/* Is it spoken to over plain HTTP? `registry` is canonical. */
[[nodiscard]] bool registry_is_plain(const struct registry_client *client, const char *registry);

/* Is it loopback by its own name, in the usual spelling? */
[[nodiscard]] bool registry_is_loopback(const char *registry);

/* Does --insecure-registry, --registry-mirror or, without a wildcard, --allow-registry name
 * the host? */
[[nodiscard]] bool registry_is_named(const struct registry_client *client,
                                     const struct origin *origin);

/* --allow-registry alone. */
[[nodiscard]] bool registry_is_allowed_by_name(const struct registry_client *client,
                                               const struct origin *origin);

/* Whom to ask: the registry's mirrors, as references of theirs, then itself. */
[[nodiscard]] size_t registry_sources(const struct registry_client *client,
                                      const struct reference *reference,
                                      struct reference sources[SOURCES_MAX]);

/* One request of HTTP and where its answer's body goes. */
struct exchange {
    /* asked; borrowed */
    const char *registry; /* for whose sake, canonical: it decides what may be reached */
    const char *url;
    bool is_head;
    const char *accept;        /* NULL: anything */
    const char *authorization; /* NULL, or the header's value; for the URL's origin only */
    const char *form;          /* NULL, or the body of a POST */
    const char *form_secret;   /* NULL, or what of it is secret */
    uint64_t range_start;      /* 0: all */
    unsigned timeout_seconds;  /* 0: none in total */
    registry_sink *body;       /* gets the body of a 200 or 206 */
    void *body_context;
    const atomic_bool *cancel;

    /* answered */
    int status;
    bool came_from_elsewhere; /* a redirect led to another origin */
    bool may_retry;           /* the transport failed in a way that may pass */
    char media_type[MEDIA_TYPE_SIZE];
    char content_digest[DIGEST_TEXT_SIZE]; /* "" when absent or of another kind */
    int64_t content_length;                /* -1 when unknown */
    uint64_t content_range_start;          /* of a 206 */
    uint64_t content_range_total;          /* UINT64_MAX when unknown */
    int retry_after_seconds;               /* 0 when it was not said */
    struct rate_limit rate;
    struct challenge challenge;
    char error_body[ERROR_BODY_MAX + 1];
    size_t error_body_size; /* of it, what is kept */
    size_t error_body_seen;
    struct excerpt words; /* of it, for an error */
};

/* Sends it and follows redirects. True when an answer came, whatever its status; false
 * with an error when none did, when the sink refused, or on cancel. */
[[nodiscard]] bool exchange_run(struct registry_client *client, struct exchange *exchange,
                                struct error *error);

/* Fills `words` from the error's body: none when a redirect led elsewhere, whose answer may
 * repeat a signed URL, nor when they repeat a secret. */
void exchange_read_words(struct registry_client *client, struct exchange *exchange);

/* Before it is sent: what the exchange shows to be let in, no text of its registry may repeat from
 * now on. */
void secrets_remember(struct registry_client *client, const struct exchange *exchange);
[[nodiscard]] bool secrets_repeated(struct registry_client *client, const char *registry,
                                    const char *text);
void secrets_free(struct secret *secrets);

/* Fills the error from an answer that is none of 200 and 206. `what` names the thing
 * asked for ("the manifest of ghcr.io/a/b:c"). Always returns false. */
bool exchange_refused(const struct exchange *exchange, const char *what, struct error *error);

[[nodiscard]] bool registry_is_cancelled(const atomic_bool *cancel);
bool registry_cancelled(struct error *error); /* sets ERROR_PULL_CANCELLED; returns false */

/* Attempts at one thing: how many were made in a row, and in all. */
struct attempts {
    unsigned max_in_a_row;
    int patience_seconds; /* for a pause that is asked for */
    unsigned in_a_row;
    unsigned in_all;
};

/* As many as the client's config says; but two at a mirror, and none once it asks for a pause:
 * behind it the registry waits. (A mirror's token server is asked as a registry's.) */
[[nodiscard]] struct attempts attempts_at(const struct registry_client *client,
                                          const struct reference *reference,
                                          const struct reference *source);

/* After a failure: waits until the next attempt is due. False, with *error as it was,
 * when there is none left or the registry wants a longer pause than is sensible; false
 * with ERROR_PULL_CANCELLED on cancel. */
[[nodiscard]] bool attempts_pause(struct attempts *attempts, int retry_after_seconds,
                                  const atomic_bool *cancel, struct error *error);

[[nodiscard]] bool status_may_pass(int status);

/* One attempt with the authorization that the registry wants for this repository,
 * which is renewed once on 401. As exchange_run(); a 401 that stays is an answer. */
[[nodiscard]] bool registry_attempt(struct registry_client *client,
                                    const struct reference *reference, struct exchange *exchange,
                                    struct error *error);

/* The remembered authorization header for a repository, in the arena; NULL when there
 * is none or it has run out. */
[[nodiscard]] const char *grant_find(struct registry_client *client,
                                     const struct reference *reference, struct arena *arena);
void grant_keep(struct registry_client *client, const struct reference *reference,
                const char *header, int64_t lifetime_seconds);
void grant_drop(struct registry_client *client, const struct reference *reference,
                const char *header);
void grants_free(struct grant *grants);

/* Gets an authorization header that answers the challenge. */
[[nodiscard]] bool registry_token_get(struct registry_client *client,
                                      const struct reference *reference,
                                      const struct challenge *challenge, const atomic_bool *cancel,
                                      struct arena *arena, const char **header,
                                      struct error *error);

/* A buffer that a body is collected in, and its bound. */
struct collector {
    char *bytes; /* owned */
    size_t size;
    size_t capacity;
    size_t limit;
};

bool collector_take(void *context, const void *bytes, size_t size, struct error *error);

static inline void cleanup_collector_slot(struct collector *collector)
{
    free(collector->bytes);
}
#define cleanup_collector cleanup(cleanup_collector_slot)

[[nodiscard]] int64_t registry_now_ms(void);

#endif
