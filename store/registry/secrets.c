/* What this client showed to be let in. A registry, or whoever it sends us to, may repeat it
 * later, and to a request that showed something else. Each registry's are its own: it makes
 * tokens as it likes, which may be words of another's answers. */
#include "store/registry/registry_internal.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { MASKED_MIN_BYTES = 8 }; /* shorter ones are in many words */

struct secret {
    struct secret *next;
    char registry[REFERENCE_REGISTRY_SIZE]; /* for whose sake it was shown */
    char *text;                             /* owned */
};

void secrets_free(struct secret *secrets)
{
    while (secrets) {
        struct secret *next = secrets->next;
        free(secrets->text);
        free(secrets);
        secrets = next;
    }
}

/* With the lock held: takes out the secret of that text, or else the one that was shown to that
 * registry longest ago, when it has enough, or else to any, when all have: so none pushes out more
 * than its share. */
static struct secret *take_out(struct registry_client *client, const char *registry,
                               const char *text)
{
    struct secret **same = NULL;
    struct secret **oldest_own = NULL;
    struct secret **oldest = NULL;
    size_t own = 0;
    size_t all = 0;
    for (struct secret **slot = &client->secrets; *slot && !same; slot = &(*slot)->next) {
        oldest = slot;
        all++;
        if (strcmp((*slot)->registry, registry) != 0)
            continue;
        oldest_own = slot;
        own++;
        if (strcmp((*slot)->text, text) == 0)
            same = slot;
    }
    struct secret **found = same;
    if (!found && own >= SECRETS_OF_ONE_MAX)
        found = oldest_own;
    else if (!found && all >= SECRETS_MAX)
        found = oldest;
    struct secret *taken = found ? *found : NULL;
    if (taken)
        *found = taken->next;
    return taken;
}

static void remember(struct registry_client *client, const char *registry, const char *text)
{
    if (!text[0])
        return;
    struct secret *secret = calloc(1, sizeof(*secret));
    char *copy = strdup(text);
    if (!secret || !copy)
        abort(); /* out of memory, as in the arena */
    snprintf(secret->registry, sizeof(secret->registry), "%s", registry);
    secret->text = copy;
    pthread_mutex_lock(&client->lock);
    struct secret *former = take_out(client, registry, text);
    secret->next = client->secrets;
    client->secrets = secret;
    pthread_mutex_unlock(&client->lock);
    if (former)
        former->next = NULL;
    secrets_free(former);
}

/* The password, as it is and as it is sent. */
static void remember_basic(struct registry_client *client, const char *registry,
                           const char *encoded)
{
    size_t length = strlen(encoded);
    cleanup_free char *pair = calloc(1, length + 1); /* longer than what it decodes to */
    if (!pair)
        abort(); /* out of memory, as in the arena */
    EVP_DecodeBlock((unsigned char *)pair, (const unsigned char *)encoded, (int)length);
    const char *colon = strchr(pair, ':');
    remember(client, registry, colon ? colon + 1 : pair);
}

static void remember_form(struct registry_client *client, const char *registry, const char *secret)
{
    char *escaped = curl_easy_escape(NULL, secret, 0);
    if (!escaped)
        abort(); /* out of memory, as in the arena */
    remember(client, registry, secret);
    remember(client, registry, escaped);
    curl_free(escaped);
}

void secrets_remember(struct registry_client *client, const struct exchange *exchange)
{
    const char *registry = exchange->registry;
    const char *header = exchange->authorization;
    const char *space = header ? strchr(header, ' ') : NULL;
    if (space)
        remember(client, registry, space + 1);
    if (space && strncmp(header, "Basic ", 6) == 0)
        remember_basic(client, registry, space + 1);
    if (exchange->form_secret)
        remember_form(client, registry, exchange->form_secret);
}

/* Names of hosts are lower case in errors, whatever they were. */
bool secrets_repeated(struct registry_client *client, const char *registry, const char *text)
{
    bool found = false;
    pthread_mutex_lock(&client->lock);
    for (const struct secret *secret = client->secrets; secret && !found; secret = secret->next)
        found = strcmp(secret->registry, registry) == 0 && strcasestr(text, secret->text);
    pthread_mutex_unlock(&client->lock);
    return found;
}

static void mask(char *text, const char *secret)
{
    static const char stars[] = "***";
    const size_t length = strlen(secret);
    for (char *at = text; length >= MASKED_MIN_BYTES && (at = strcasestr(at, secret));) {
        memcpy(at, stars, strlen(stars));
        const char *rest = at + length;
        at += strlen(stars);
        memmove(at, rest, strlen(rest) + 1);
    }
}

/* As it is, and as errors quote what is not ASCII. */
static void mask_both(char *text, const char *secret)
{
    mask(text, secret);
    if (strlen(secret) <= EXCERPT_MAX)
        mask(text, excerpt_of(secret).text);
}

void registry_withhold_secrets(struct registry_client *client, const struct reference *reference,
                               struct error *error)
{
    struct reference sources[SOURCES_MAX];
    const size_t count = registry_sources(client, reference, sources);
    pthread_mutex_lock(&client->lock);
    for (const struct secret *secret = client->secrets; secret; secret = secret->next)
        for (size_t i = 0; i < count; i++)
            if (strcmp(secret->registry, sources[i].registry) == 0)
                mask_both(error->message, secret->text);
    pthread_mutex_unlock(&client->lock);
}
