#include "store/registry/registry_internal.h"

#include "store/registry/json_document.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Fetching one small document, from a mirror or from the registry itself. */
struct fetch {
    struct registry_client *client;
    const struct reference *reference;
    struct arena *arena;
    const atomic_bool *cancel;
    const char *kind;        /* `manifests` or `blobs` */
    const char *noun;        /* for errors */
    const char *name;        /* a tag or a digest */
    const char *digest;      /* expected; "" when only the registry's word is known */
    uint64_t size_bytes;     /* expected; UINT64_MAX when unknown */
    bool is_head;            /* only `announced` is wanted */
    struct digest announced; /* Docker-Content-Digest, when announced_is_known */
    bool announced_is_known;

    /* of the source that is being asked */
    const struct reference *source;
    const char *what; /* for errors */
};

static bool is_manifest(const struct fetch *fetch)
{
    return strcmp(fetch->kind, "manifests") == 0;
}

static void take_document(struct fetch *fetch, const struct exchange *exchange,
                          const struct collector *body, struct registry_document *document)
{
    fetch->announced_is_known = digest_parse(exchange->content_digest, &fetch->announced);
    memcpy(document->media_type, exchange->media_type, sizeof(document->media_type));
    document->bytes = arena_strndup(fetch->arena, body->bytes ? body->bytes : "", body->size);
    document->size_bytes = body->size;
    document->digest = digest_of(document->bytes, document->size_bytes);
}

static bool refused(const struct fetch *fetch, const struct exchange *exchange, struct error *error)
{
    exchange_refused(exchange, fetch->what, error);
    if (exchange->status == 404 && is_manifest(fetch))
        error->code = ERROR_IMAGE_NOT_FOUND;
    return false;
}

static bool run_attempts(struct fetch *fetch, const char *url, struct registry_document *document,
                         struct error *error)
{
    struct attempts attempts = attempts_at(fetch->client, fetch->reference, fetch->source);
    for (;;) {
        cleanup_collector struct collector body = {.limit = JSON_DOCUMENT_MAX_BYTES};
        struct exchange exchange = {
            .url = url,
            .is_head = fetch->is_head,
            .accept = is_manifest(fetch) ? media_type_accept : NULL,
            .timeout_seconds = DOCUMENT_TIMEOUT_SECONDS,
            .body = collector_take,
            .body_context = &body,
            .cancel = fetch->cancel,
        };
        bool answered = registry_attempt(fetch->client, fetch->source, &exchange, error);
        if (answered && exchange.status == 200) {
            take_document(fetch, &exchange, &body, document);
            return true;
        }
        if (answered)
            refused(fetch, &exchange, error);
        bool may_pass = answered ? status_may_pass(exchange.status) : exchange.may_retry;
        if (!may_pass ||
            !attempts_pause(&attempts, exchange.retry_after_seconds, fetch->cancel, error))
            return false;
    }
}

static bool mismatch(const struct fetch *fetch, const struct digest *found,
                     const struct digest *expected, struct error *error)
{
    char found_text[DIGEST_TEXT_SIZE];
    char expected_text[DIGEST_TEXT_SIZE];
    digest_format(found, found_text);
    digest_format(expected, expected_text);
    return error_set(error, ERROR_DIGEST_MISMATCH,
                     "%s: the registry sent content of digest %s, expected was %s", fetch->what,
                     found_text, expected_text);
}

/* Asked for by digest: that one. By tag: the one that the registry announced, if it did. */
static bool check_document(const struct fetch *fetch, const struct registry_document *document,
                           struct error *error)
{
    struct digest expected = fetch->announced;
    bool is_expected = digest_parse(fetch->digest, &expected) || fetch->announced_is_known;
    if (fetch->is_head)
        return true;
    if (fetch->size_bytes != UINT64_MAX && document->size_bytes != fetch->size_bytes)
        return error_set(error, ERROR_DIGEST_MISMATCH,
                         "%s has %zu bytes, but the manifest says %" PRIu64, fetch->what,
                         document->size_bytes, fetch->size_bytes);
    if (is_expected && !digest_equal(&document->digest, &expected))
        return mismatch(fetch, &document->digest, &expected, error);
    return true;
}

static bool fetch_from(struct fetch *fetch, const struct reference *source,
                       struct registry_document *document, struct error *error)
{
    struct registry_document out = {0};
    struct endpoint endpoint;
    endpoint_of(fetch->client, source->registry, &endpoint);
    fetch->source = source;
    fetch->what = arena_printf(fetch->arena, "%s %s of %s/%s", fetch->noun, fetch->name,
                               source->registry, source->repository);
    const char *url = arena_printf(fetch->arena, "%s/v2/%s/%s/%s", endpoint.base,
                                   source->repository, fetch->kind, fetch->name);
    bool good = run_attempts(fetch, url, &out, error) && check_document(fetch, &out, error);
    fetch->source = NULL;
    if (good)
        *document = out;
    return good;
}

/* The mirrors, then the registry, whose error is the one that counts. */
static bool run_fetch(struct fetch *fetch, struct registry_document *document, struct error *error)
{
    struct reference sources[SOURCES_MAX];
    size_t count = registry_sources(fetch->client, fetch->reference, sources);
    if (!registry_check_allowed(fetch->client, fetch->reference, error))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (fetch_from(fetch, &sources[i], document, error))
            return true;
        if (error->code == ERROR_PULL_CANCELLED)
            return false;
    }
    return false;
}

static struct fetch manifest_fetch(struct registry_client *client,
                                   const struct reference *reference, struct arena *arena,
                                   const atomic_bool *cancel)
{
    return (struct fetch){
        .client = client,
        .reference = reference,
        .arena = arena,
        .cancel = cancel,
        .kind = "manifests",
        .noun = "manifest",
        .name = reference->digest[0] ? reference->digest : reference->tag,
        .digest = reference->digest,
        .size_bytes = UINT64_MAX,
    };
}

bool registry_fetch_manifest(struct registry_client *client, const struct reference *reference,
                             struct arena *arena, const atomic_bool *cancel,
                             struct registry_document *document, struct error *error)
{
    struct fetch fetch = manifest_fetch(client, reference, arena, cancel);
    return run_fetch(&fetch, document, error);
}

bool registry_fetch_manifest_by_digest(struct registry_client *client,
                                       const struct reference *reference,
                                       const struct digest *digest, struct arena *arena,
                                       const atomic_bool *cancel,
                                       struct registry_document *document, struct error *error)
{
    char text[DIGEST_TEXT_SIZE];
    struct fetch fetch = manifest_fetch(client, reference, arena, cancel);
    digest_format(digest, text);
    fetch.name = text;
    fetch.digest = text;
    return run_fetch(&fetch, document, error);
}

bool registry_resolve(struct registry_client *client, const struct reference *reference,
                      const atomic_bool *cancel, struct digest *digest, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct registry_document document = {0};
    struct fetch fetch = manifest_fetch(client, reference, &arena, cancel);
    fetch.is_head = true;
    if (!run_fetch(&fetch, &document, error))
        return false;
    *digest = fetch.announced;
    if (fetch.announced_is_known)
        return true;
    /* It does not say the digest: the content does. */
    if (!registry_fetch_manifest(client, reference, &arena, cancel, &document, error))
        return false;
    *digest = document.digest;
    return true;
}

bool registry_fetch_config(struct registry_client *client, const struct reference *reference,
                           const struct descriptor *descriptor, struct arena *arena,
                           const atomic_bool *cancel, struct registry_document *document,
                           struct error *error)
{
    char name[DIGEST_TEXT_SIZE];
    digest_format(&descriptor->digest, name);
    struct fetch fetch = {
        .client = client,
        .reference = reference,
        .arena = arena,
        .cancel = cancel,
        .kind = "blobs",
        .noun = "config",
        .name = name,
        .digest = name,
        .size_bytes = descriptor->size_bytes,
    };
    return run_fetch(&fetch, document, error);
}
