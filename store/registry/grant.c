#include "store/registry/registry_internal.h"

#include <string.h>
#include <time.h>

/* An authorization that a registry accepted, or a realm gave, for one repository. */
struct grant {
    struct grant *next;
    char registry[REFERENCE_REGISTRY_SIZE];
    char repository[REFERENCE_REPOSITORY_SIZE];
    char *header; /* owned */
    int64_t expires_ms;
};

int64_t registry_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void grant_free(struct grant *grant)
{
    free(grant->header);
    free(grant);
}

void grants_free(struct grant *grants)
{
    while (grants) {
        struct grant *next = grants->next;
        grant_free(grants);
        grants = next;
    }
}

static bool is_for(const struct grant *grant, const struct reference *reference)
{
    return strcmp(grant->registry, reference->registry) == 0 &&
           strcmp(grant->repository, reference->repository) == 0;
}

const char *grant_find(struct registry_client *client, const struct reference *reference,
                       struct arena *arena)
{
    const char *header = NULL;
    pthread_mutex_lock(&client->lock);
    for (struct grant *grant = client->grants; grant && !header; grant = grant->next)
        if (is_for(grant, reference) && grant->expires_ms > registry_now_ms())
            header = arena_strdup(arena, grant->header);
    pthread_mutex_unlock(&client->lock);
    return header;
}

/* With the lock held: takes out those that ran out, the repository's former one, and
 * what is beyond the limit. */
static void trim(struct registry_client *client, const struct reference *reference)
{
    size_t kept = 0;
    for (struct grant **slot = &client->grants; *slot;) {
        struct grant *grant = *slot;
        bool goes = is_for(grant, reference) || grant->expires_ms <= registry_now_ms() ||
                    kept + 1 >= GRANTS_MAX;
        if (!goes) {
            slot = &grant->next;
            kept++;
            continue;
        }
        *slot = grant->next;
        grant_free(grant);
    }
}

void grant_keep(struct registry_client *client, const struct reference *reference,
                const char *header, int64_t lifetime_seconds)
{
    struct grant *grant = calloc(1, sizeof(*grant));
    char *copy = strdup(header);
    if (!grant || !copy)
        abort(); /* out of memory, as in the arena */
    memcpy(grant->registry, reference->registry, sizeof(grant->registry));
    memcpy(grant->repository, reference->repository, sizeof(grant->repository));
    grant->header = copy;
    grant->expires_ms = registry_now_ms() + lifetime_seconds * 1000;

    pthread_mutex_lock(&client->lock);
    trim(client, reference);
    grant->next = client->grants;
    client->grants = grant;
    pthread_mutex_unlock(&client->lock);
}

void grant_drop(struct registry_client *client, const struct reference *reference,
                const char *header)
{
    pthread_mutex_lock(&client->lock);
    for (struct grant **slot = &client->grants; *slot;) {
        struct grant *grant = *slot;
        if (!is_for(grant, reference) || strcmp(grant->header, header) != 0) {
            slot = &grant->next;
            continue;
        }
        *slot = grant->next;
        grant_free(grant);
    }
    pthread_mutex_unlock(&client->lock);
}
