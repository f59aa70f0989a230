#include "store/registry/registry_internal.h"

#include "store/registry/credentials.h"
#include "store/registry/json_document.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum {
    TOKEN_MAX_BYTES = 64 << 10,
    TOKEN_DEFAULT_SECONDS = 60, /* distribution's token spec, "expires_in" */
    TOKEN_LONGEST_SECONDS = 3600,
    BASIC_SECONDS = 300, /* after which Docker's config is read again */
};

/* Getting one authorization. */
struct grab {
    struct registry_client *client;
    const struct reference *reference;
    const struct challenge *challenge;
    const atomic_bool *cancel;
    struct arena *arena;
    struct endpoint endpoint;
    struct docker_login login;
};

static bool unauthorized(struct error *error, const struct grab *grab, const char *why)
{
    error_set(error, ERROR_REGISTRY_UNAUTHORIZED, "%s refuses %s: %s", grab->reference->registry,
              grab->reference->repository, why);
    error->registry_status = 401;
    return false;
}

static const char *basic_header(struct arena *arena, const struct docker_login *login)
{
    const char *pair = arena_printf(arena, "%s:%s", login->username, login->secret);
    size_t length = strlen(pair);
    unsigned char *encoded = arena_alloc(arena, (length + 2) / 3 * 4 + 1);
    EVP_EncodeBlock(encoded, (const unsigned char *)pair, (int)length);
    return arena_printf(arena, "Basic %s", (const char *)encoded);
}

static bool use_basic(const struct grab *grab, const char **header, struct error *error)
{
    if (grab->login.kind != DOCKER_LOGIN_PASSWORD)
        return unauthorized(error, grab,
                            "it wants a user name and password, and Docker's config file has none "
                            "for it");
    *header = basic_header(grab->arena, &grab->login);
    grant_keep(grab->client, grab->reference, *header, BASIC_SECONDS);
    return true;
}

/* In the clear only where the operator said so: of the registry, and of the realm's host. */
static bool may_be_asked(const struct grab *grab, const struct origin *realm, bool is_same_host)
{
    if (realm->is_https)
        return true;
    const char *name = arena_printf(grab->arena, "%s:%u", realm->host, realm->port);
    return grab->endpoint.is_plain && (is_same_host || registry_is_plain(grab->client, name));
}

/* The host that challenges, one of its owner's over TLS, or one that the operator named. */
static bool may_see_login(const struct grab *grab, const struct origin *realm,
                          const struct origin *registry, bool is_same_host)
{
    return is_same_host || (realm->is_https && (origin_same_domain(realm, registry) ||
                                                registry_is_allowed_by_name(grab->client, realm)));
}

static bool check_realm(struct grab *grab, struct error *error)
{
    struct origin realm;
    struct origin registry;
    if (!origin_parse(grab->challenge->realm, &realm) ||
        !origin_parse(grab->endpoint.base, &registry))
        return unauthorized(error, grab, "its token realm is not an http or https URL");
    bool is_same_host = strcmp(realm.host, registry.host) == 0;
    if (!may_be_asked(grab, &realm, is_same_host))
        return unauthorized(error, grab, "its token realm is plain http, which is refused");
    if (!may_see_login(grab, &realm, &registry, is_same_host))
        grab->login = (struct docker_login){0}; /* a stranger is asked anonymously only */
    return true;
}

static void cleanup_url_slot(CURLU **slot)
{
    curl_url_cleanup(*slot);
}

static bool append_query(CURLU *url, const char *name, const char *value)
{
    cleanup_free char *pair = NULL;
    if (!value[0])
        return true;
    if (asprintf(&pair, "%s=%s", name, value) < 0)
        abort(); /* out of memory, as in the arena */
    return curl_url_set(url, CURLUPART_QUERY, pair, CURLU_APPENDQUERY | CURLU_URLENCODE) ==
           CURLUE_OK;
}

/* Only ever the right to pull from this repository, whatever the challenge names. */
static const char *scope_of(const struct grab *grab)
{
    return arena_printf(grab->arena, "repository:%s:pull", grab->reference->repository);
}

static const char *token_url(const struct grab *grab)
{
    cleanup(cleanup_url_slot) CURLU *url = curl_url();
    char *text = NULL;
    bool good = url && curl_url_set(url, CURLUPART_URL, grab->challenge->realm, 0) == CURLUE_OK &&
                append_query(url, "service", grab->challenge->service) &&
                append_query(url, "scope", scope_of(grab)) &&
                curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK;
    const char *copy = good ? arena_strdup(grab->arena, text) : NULL;
    curl_free(text);
    return copy;
}

static const char *escaped(struct arena *arena, const char *text)
{
    char *raw = curl_easy_escape(NULL, text, 0);
    if (!raw)
        abort(); /* out of memory, as in the arena */
    const char *copy = arena_strdup(arena, raw);
    curl_free(raw);
    return copy;
}

/* OAuth2 (distribution's "Authenticate with OAuth2"): an identity token for an access
 * token. */
static const char *token_form(const struct grab *grab)
{
    struct arena *arena = grab->arena;
    return arena_printf(arena,
                        "grant_type=refresh_token&client_id=larder&service=%s&scope=%s"
                        "&refresh_token=%s",
                        escaped(arena, grab->challenge->service), escaped(arena, scope_of(grab)),
                        escaped(arena, grab->login.secret));
}

static void prepare(const struct grab *grab, struct exchange *exchange)
{
    exchange->registry = grab->reference->registry;
    exchange->url = grab->challenge->realm;
    if (grab->login.kind == DOCKER_LOGIN_IDENTITY_TOKEN)
        exchange->form = token_form(grab), exchange->form_secret = grab->login.secret;
    else
        exchange->url = token_url(grab);
    if (grab->login.kind == DOCKER_LOGIN_PASSWORD)
        exchange->authorization = basic_header(grab->arena, &grab->login);
    exchange->timeout_seconds = DOCUMENT_TIMEOUT_SECONDS;
    exchange->cancel = grab->cancel;
}

static bool is_token(const char *text)
{
    size_t length = text ? strlen(text) : 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return length > 0 && length <= TOKEN_MAX_BYTES;
}

static bool read_token(const struct grab *grab, const struct collector *body, const char **header,
                       struct error *error)
{
    struct error reason; /* may quote the token: thrown away */
    cleanup_json json_t *json =
        json_document_load(body->bytes, body->size, "", ERROR_PULL_FAILED, &reason);
    const char *token = json_string_value(json_object_get(json, "token"));
    if (!token || !token[0])
        token = json_string_value(json_object_get(json, "access_token"));
    if (!is_token(token))
        return unauthorized(error, grab, "its token realm did not answer with a token");

    json_int_t seconds = json_integer_value(json_object_get(json, "expires_in"));
    if (seconds <= 0)
        seconds = TOKEN_DEFAULT_SECONDS;
    if (seconds > TOKEN_LONGEST_SECONDS)
        seconds = TOKEN_LONGEST_SECONDS;
    *header = arena_printf(grab->arena, "Bearer %s", token);
    grant_keep(grab->client, grab->reference, *header, seconds - seconds / 10);
    return true;
}

static bool realm_refused(const struct grab *grab, const struct exchange *exchange,
                          struct error *error)
{
    const char *what = arena_printf(
        grab->arena, "a token for %s/%s%s", grab->reference->registry, grab->reference->repository,
        grab->login.kind == DOCKER_LOGIN_NONE ? " (without credentials)" : "");
    return exchange_refused(exchange, what, error);
}

static bool use_bearer(struct grab *grab, const char **header, struct error *error)
{
    struct attempts attempts = attempts_at(grab->client, grab->reference, grab->reference);
    if (!check_realm(grab, error))
        return false;
    for (;;) {
        cleanup_collector struct collector body = {.limit = (size_t)TOKEN_MAX_BYTES * 2};
        struct exchange exchange = {.body = collector_take, .body_context = &body};
        prepare(grab, &exchange);
        if (!exchange.url)
            return unauthorized(error, grab, "its token realm cannot be asked for a scope");
        bool answered = exchange_run(grab->client, &exchange, error);
        if (answered && exchange.status == 200)
            return read_token(grab, &body, header, error);
        if (answered)
            realm_refused(grab, &exchange, error);
        bool may_pass = answered ? status_may_pass(exchange.status) : exchange.may_retry;
        if (!may_pass ||
            !attempts_pause(&attempts, exchange.retry_after_seconds, grab->cancel, error))
            return false;
    }
}

bool registry_token_get(struct registry_client *client, const struct reference *reference,
                        const struct challenge *challenge, const atomic_bool *cancel,
                        struct arena *arena, const char **header, struct error *error)
{
    struct grab grab = {.client = client,
                        .reference = reference,
                        .challenge = challenge,
                        .cancel = cancel,
                        .arena = arena};
    endpoint_of(client, reference->registry, &grab.endpoint);
    if (!credentials_load(arena, client->docker_config_path, reference->registry, cancel,
                          &grab.login, error))
        return false;
    return challenge->bearer ? use_bearer(&grab, header, error) : use_basic(&grab, header, error);
}
