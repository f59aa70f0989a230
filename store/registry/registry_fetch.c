#include "store/registry/registry_internal.h"

#include "store/registry/json_document.h"

#include <stdio.h>
#include <string.h>

/* Fetching one small document. */
struct fetch {
    struct registry_client *client;
    const struct reference *reference;
    struct arena *arena;
    const atomic_bool *cancel;
    const char *url;
    const char *what; /* for errors */
    bool is_head;
    bool is_manifest;
};

static const char *make_url(struct fetch *fetch, const char *kind, const char *name)
{
    struct endpoint endpoint;
    endpoint_of(fetch->client, fetch->reference->registry, &endpoint);
    return arena_printf(fetch->arena, "%s/v2/%s/%s/%s", endpoint.base, fetch->reference->repository,
                        kind, name);
}

static const char *make_what(struct fetch *fetch, const char *kind, const char *name)
{
    return arena_printf(fetch->arena, "%s %s of %s/%s", kind, name, fetch->reference->registry,
                        fetch->reference->repository);
}

/* What the reference names: its digest if it has one. */
static const char *name_of(const struct reference *reference)
{
    return reference->digest[0] ? reference->digest : reference->tag;
}

static void take_document(const struct fetch *fetch, const struct exchange *exchange,
                          const struct collector *body, struct registry_document *document)
{
    memcpy(document->media_type, exchange->media_type, sizeof(document->media_type));
    document->bytes = arena_strndup(fetch->arena, body->bytes ? body->bytes : "", body->size);
    document->size_bytes = body->size;
    document->digest = digest_of(document->bytes, document->size_bytes);
}

static bool refused(const struct fetch *fetch, const struct exchange *exchange, struct error *error)
{
    exchange_refused(exchange, fetch->what, error);
    if (exchange->status == 404 && fetch->is_manifest)
        error->code = ERROR_IMAGE_NOT_FOUND;
    return false;
}

static bool run_fetch(const struct fetch *fetch, struct exchange *exchange,
                      struct registry_document *document, struct error *error)
{
    struct attempts attempts = {0};
    exchange->url = fetch->url;
    exchange->is_head = fetch->is_head;
    exchange->accept = fetch->is_manifest ? media_type_accept : NULL;
    exchange->timeout_seconds = DOCUMENT_TIMEOUT_SECONDS;
    exchange->cancel = fetch->cancel;
    for (;;) {
        cleanup_collector struct collector body = {.limit = JSON_DOCUMENT_MAX_BYTES};
        exchange->body = collector_take;
        exchange->body_context = &body;
        bool answered = registry_attempt(fetch->client, fetch->reference, exchange, error);
        if (answered && exchange->status == 200) {
            take_document(fetch, exchange, &body, document);
            return true;
        }
        if (answered)
            refused(fetch, exchange, error);
        bool may_pass = answered ? status_may_pass(exchange->status) : exchange->may_retry;
        if (!may_pass || !attempts_pause(fetch->client, &attempts, exchange->retry_after_seconds,
                                         fetch->cancel, error))
            return false;
    }
}

static bool mismatch(const struct fetch *fetch, const struct digest *found, const char *expected,
                     struct error *error)
{
    char text[DIGEST_TEXT_SIZE];
    digest_format(found, text);
    return error_set(error, ERROR_DIGEST_MISMATCH,
                     "%s: the registry sent content of digest %s, expected was %s", fetch->what,
                     text, expected);
}

/* By digest: that one. By tag: the one that the registry announced, if it did. */
static bool check_manifest(const struct fetch *fetch, const struct exchange *exchange,
                           const char *wanted, const struct registry_document *document,
                           struct error *error)
{
    char found[DIGEST_TEXT_SIZE];
    const char *expected = wanted[0] ? wanted : exchange->content_digest;
    digest_format(&document->digest, found);
    if (expected[0] && strcmp(found, expected) != 0)
        return mismatch(fetch, &document->digest, expected, error);
    return true;
}

static bool fetch_manifest(struct fetch *fetch, const char *name, const char *wanted_digest,
                           struct registry_document *document, struct error *error)
{
    struct exchange exchange = {0};
    struct registry_document out = {0};
    if (!registry_check_allowed(fetch->client, fetch->reference, error))
        return false;
    fetch->is_manifest = true;
    fetch->url = make_url(fetch, "manifests", name);
    fetch->what = make_what(fetch, "manifest", name);
    if (!run_fetch(fetch, &exchange, &out, error) ||
        !check_manifest(fetch, &exchange, wanted_digest, &out, error))
        return false;
    *document = out;
    return true;
}

bool registry_fetch_manifest(struct registry_client *client, const struct reference *reference,
                             struct arena *arena, const atomic_bool *cancel,
                             struct registry_document *document, struct error *error)
{
    struct fetch fetch = {
        .client = client, .reference = reference, .arena = arena, .cancel = cancel};
    return fetch_manifest(&fetch, name_of(reference), reference->digest, document, error);
}

bool registry_fetch_manifest_by_digest(struct registry_client *client,
                                       const struct reference *reference,
                                       const struct digest *digest, struct arena *arena,
                                       const atomic_bool *cancel,
                                       struct registry_document *document, struct error *error)
{
    char text[DIGEST_TEXT_SIZE];
    struct fetch fetch = {
        .client = client, .reference = reference, .arena = arena, .cancel = cancel};
    digest_format(digest, text);
    return fetch_manifest(&fetch, text, text, document, error);
}

bool registry_resolve(struct registry_client *client, const struct reference *reference,
                      const atomic_bool *cancel, struct digest *digest, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct registry_document document = {0};
    struct exchange exchange = {0};
    struct fetch fetch = {.client = client,
                          .reference = reference,
                          .arena = &arena,
                          .cancel = cancel,
                          .is_head = true,
                          .is_manifest = true};
    if (!registry_check_allowed(client, reference, error))
        return false;
    fetch.url = make_url(&fetch, "manifests", name_of(reference));
    fetch.what = make_what(&fetch, "manifest", name_of(reference));
    if (!run_fetch(&fetch, &exchange, &document, error))
        return false;
    if (digest_parse(exchange.content_digest, digest))
        return true;
    /* It does not say the digest: the content does. */
    if (!registry_fetch_manifest(client, reference, &arena, cancel, &document, error))
        return false;
    *digest = document.digest;
    return true;
}

static bool check_config(const struct fetch *fetch, const struct descriptor *descriptor,
                         const struct registry_document *document, struct error *error)
{
    char expected[DIGEST_TEXT_SIZE];
    digest_format(&descriptor->digest, expected);
    if (document->size_bytes != descriptor->size_bytes)
        return error_set(error, ERROR_DIGEST_MISMATCH,
                         "%s has %zu bytes, but the manifest says %llu", fetch->what,
                         document->size_bytes, (unsigned long long)descriptor->size_bytes);
    if (!digest_equal(&document->digest, &descriptor->digest))
        return mismatch(fetch, &document->digest, expected, error);
    return true;
}

bool registry_fetch_config(struct registry_client *client, const struct reference *reference,
                           const struct descriptor *descriptor, struct arena *arena,
                           const atomic_bool *cancel, struct registry_document *document,
                           struct error *error)
{
    char name[DIGEST_TEXT_SIZE];
    struct exchange exchange = {0};
    struct registry_document out = {0};
    struct fetch fetch = {
        .client = client, .reference = reference, .arena = arena, .cancel = cancel};
    if (!registry_check_allowed(client, reference, error))
        return false;
    digest_format(&descriptor->digest, name);
    fetch.url = make_url(&fetch, "blobs", name);
    fetch.what = make_what(&fetch, "config", name);
    if (!run_fetch(&fetch, &exchange, &out, error) ||
        !check_config(&fetch, descriptor, &out, error))
        return false;
    *document = out;
    return true;
}
