#include "store/registry/registry_internal.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort(); /* out of memory, or no TLS library */
}

static void *checked(void *memory)
{
    if (!memory)
        abort(); /* out of memory, as in the arena */
    return memory;
}

static char **copy_names(const char *const *names, size_t count)
{
    char **copies = checked(calloc(count + 1, sizeof(*copies)));
    for (size_t i = 0; i < count; i++) {
        copies[i] = checked(strdup(names[i]));
        for (char *c = copies[i]; *c; c++)
            *c = (char)tolower((unsigned char)*c);
    }
    return copies;
}

static void free_names(char **names)
{
    for (char **name = names; *name; name++)
        free(*name);
    free(names);
}

struct registry_client *registry_client_new(const struct registry_config *config)
{
    pthread_once(&curl_once, start_curl);
    struct registry_client *client = checked(calloc(1, sizeof(*client)));
    if (config->docker_config_path)
        client->docker_config_path = checked(strdup(config->docker_config_path));
    client->insecure_registries =
        copy_names(config->insecure_registries, config->insecure_registry_count);
    client->allowed_registries =
        copy_names(config->allowed_registries, config->allowed_registry_count);
    client->mirrors = checked(calloc(config->mirror_count + 1, sizeof(*client->mirrors)));
    client->mirror_count = config->mirror_count;
    client->loopback_must_be_named = config->loopback_must_be_named;
    for (size_t i = 0; i < config->mirror_count; i++)
        client->mirrors[i] = config->mirrors[i];
    const char *ca_file = config->ca_path ? config->ca_path : getenv("SSL_CERT_FILE");
    if (ca_file && ca_file[0])
        client->ca_file = checked(strdup(ca_file));
    client->connect_timeout_seconds =
        config->connect_timeout_seconds ? config->connect_timeout_seconds : 10;
    client->stall_timeout_seconds =
        config->stall_timeout_seconds ? config->stall_timeout_seconds : 30;
    client->max_attempts = config->max_attempts ? config->max_attempts : 5;
    pthread_mutex_init(&client->lock, NULL);
    return client;
}

void registry_client_free(struct registry_client *client)
{
    if (!client)
        return;
    for (size_t i = 0; i < client->idle_line_count; i++)
        line_free(client->idle_lines[i]);
    grants_free(client->grants);
    secrets_free(client->secrets);
    free_names(client->insecure_registries);
    free_names(client->allowed_registries);
    free(client->docker_config_path);
    free(client->mirrors);
    free(client->ca_file);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

/* Brackets are an IPv6 address's, not a set of letters. */
static bool is_glob(const char *name)
{
    return name[0] != '[' && strpbrk(name, "*?[");
}

static bool is_allowed(const char *glob, const char *registry)
{
    return is_glob(glob) ? fnmatch(glob, registry, FNM_NOESCAPE) == 0 : strcmp(glob, registry) == 0;
}

bool registry_check_allowed(const struct registry_client *client, const struct reference *reference,
                            struct error *error)
{
    if (!client->allowed_registries[0])
        return true;
    for (char **glob = client->allowed_registries; *glob; glob++)
        if (is_allowed(*glob, reference->registry))
            return true;
    return error_set(error, ERROR_REGISTRY_NOT_ALLOWED,
                     "images of %s may not be pulled here; --allow-registry says which may",
                     reference->registry);
}

/* The registry's name without its port. */
static void host_of(const char *registry, char out[REFERENCE_REGISTRY_SIZE])
{
    snprintf(out, REFERENCE_REGISTRY_SIZE, "%s", registry);
    char *bracket = strrchr(out, ']');
    char *colon = strchr(bracket ? bracket : out, ':');
    if (colon)
        *colon = '\0';
}

bool registry_is_loopback(const char *registry)
{
    char host[REFERENCE_REGISTRY_SIZE];
    host_of(registry, host);
    return origin_host_is_loopback(host);
}

/* A mirror's own URL says how to speak to it. */
bool registry_is_plain(const struct registry_client *client, const char *registry)
{
    char host[REFERENCE_REGISTRY_SIZE];
    for (size_t i = 0; i < client->mirror_count; i++)
        if (strcmp(client->mirrors[i].host, registry) == 0)
            return client->mirrors[i].is_plain;
    host_of(registry, host);
    if (registry_is_loopback(registry))
        return true;
    for (char **name = client->insecure_registries; *name; name++)
        if (strcmp(*name, registry) == 0 || strcmp(*name, host) == 0)
            return true;
    return false;
}

void endpoint_of(const struct registry_client *client, const char *registry,
                 struct endpoint *endpoint)
{
    bool is_hub = strcmp(registry, "docker.io") == 0;
    endpoint->is_plain = registry_is_plain(client, registry);
    snprintf(endpoint->base, sizeof(endpoint->base), "%s://%s",
             endpoint->is_plain ? "http" : "https", is_hub ? "registry-1.docker.io" : registry);
}

/* Is that registry's API on this host and port? */
static bool is_at(const struct registry_client *client, const char *registry,
                  const struct origin *origin)
{
    struct endpoint endpoint;
    struct origin its;
    endpoint_of(client, registry, &endpoint);
    return origin_parse(endpoint.base, &its) && its.port == origin->port &&
           strcmp(its.host, origin->host) == 0;
}

bool registry_is_allowed_by_name(const struct registry_client *client, const struct origin *origin)
{
    for (char **name = client->allowed_registries; *name; name++)
        if (!is_glob(*name) && is_at(client, *name, origin))
            return true;
    return false;
}

bool registry_is_named(const struct registry_client *client, const struct origin *origin)
{
    for (char **name = client->insecure_registries; *name; name++)
        if (strcmp(*name, origin->host) == 0 || is_at(client, *name, origin))
            return true;
    for (size_t i = 0; i < client->mirror_count; i++)
        if (is_at(client, client->mirrors[i].host, origin))
            return true;
    return registry_is_allowed_by_name(client, origin);
}

bool registry_has_mirror(const struct registry_client *client, const struct reference *reference)
{
    struct reference sources[SOURCES_MAX];
    return registry_sources(client, reference, sources) > 1;
}

size_t registry_sources(const struct registry_client *client, const struct reference *reference,
                        struct reference sources[SOURCES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < client->mirror_count && count < SOURCES_MAX - 1; i++) {
        const struct registry_mirror *mirror = &client->mirrors[i];
        if (strcmp(mirror->registry, reference->registry) != 0)
            continue;
        sources[count] = *reference;
        memcpy(sources[count++].registry, mirror->host, sizeof(mirror->host));
    }
    sources[count++] = *reference;
    return count;
}
