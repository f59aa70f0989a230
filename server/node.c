#include "server/node.h"

#include "server/auth.h"
#include "server/cache_lease.h"
#include "server/cache_poller.h"
#include "server/fence_gate.h"
#include "server/inventory_thread.h"
#include "server/log_writer.h"
#include "server/read_cache.h"
#include "server/reaper_thread.h"
#include "server/scrub_thread.h"
#include "server/sweep_thread.h"
#include "server/tls.h"
#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"
#include "store/directory_binding.h"
#include "store/private_postgres.h"
#include "store/puller.h"
#include "store/registry/registry_client.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
    /* The eight workers and the eight whose disk may hang, those who wait for pulls, the reaper's
     * two, the sweeper with its lock and one more, the scrub likewise, the puller's heartbeat and
     * its cleaning, and some to spare. */
    SESSIONS_BESIDE_PULLS = 26,
    SESSIONS_FOR_STARTS = 8, /* one a worker; made when it is needed */
    ACQUIRE_TIMEOUT_MS = 2000,
    /* With the wait for its connection, half of what a failover may take: longer hangs are no
     * statements of ours. What needs more (a prune) asks for it. */
    STATEMENT_TIMEOUT_MS = 6000,
};

static enum log_format log_format_of(const struct options *options)
{
    if (options->log_format)
        return strcmp(options->log_format, "json") == 0 ? LOG_JSON : LOG_TEXT;
    return isatty(STDERR_FILENO) ? LOG_TEXT : LOG_JSON;
}

/* RFC 9562, version 4. */
static void make_id(char id[NODE_ID_SIZE])
{
    uint8_t b[16];
    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        abort();
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(id, NODE_ID_SIZE,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

/* mkdir -p; what is there already is fine. */
static bool make_directory(const char *path, struct error *error)
{
    cleanup_free char *partial = strdup(path);
    if (!partial)
        abort();
    for (char *at = partial + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char ended_by = *at;
        *at = '\0';
        if (mkdir(partial, 0755) != 0 && errno != EEXIST)
            return error_set_errno(error, ERROR_INTERNAL, errno, "Cannot make the directory %s",
                                   partial);
        if (ended_by == '\0')
            return true;
        *at = ended_by;
    }
}

static bool start_postgres(struct node *node, struct error *error)
{
    const char *data_dir = node->options->data_dir;
    cleanup_free char *directory = NULL;
    if (asprintf(&directory, "%s/postgres", data_dir) < 0)
        abort();
    if (!make_directory(data_dir, error))
        return false;
    if (node->options->join_postgres && !private_postgres_join(directory, &node->postgres, error))
        return false;
    if (!node->postgres)
        node->postgres = private_postgres_start(directory, error);
    return node->postgres;
}

/* Of each pull: its locks keep one for each layer that is built, and are written through
 * it; the pull itself has one beside them, and its progress another. There are as many loads
 * as pulls. */
static unsigned sessions_of_pulls(const struct options *options)
{
    return (unsigned)(2 * options->pull_jobs * (2 + options->layer_jobs));
}

bool node_open_catalogue(struct node *node, const struct options *options, struct error *error)
{
    *node = (struct node){.options = options};
    node->log = (struct log){.fd = STDERR_FILENO, .format = log_format_of(options)};
    if (!options->database && !start_postgres(node, error))
        return false;
    make_id(node->id);
    node->conninfo =
        options->database ? options->database : private_postgres_conninfo(node->postgres);
    struct catalogue_config config = {
        .node_id = node->id,
        .conninfo = node->conninfo,
        .max_sessions = SESSIONS_BESIDE_PULLS + sessions_of_pulls(options),
        .acquire_timeout_ms = ACQUIRE_TIMEOUT_MS,
        .statement_timeout_ms = STATEMENT_TIMEOUT_MS,
    };
    node->catalogue = catalogue_open(&config, error);
    return node->catalogue && catalogue_check_sessions(node->catalogue, error) &&
           catalogue_migrate(node->catalogue, error);
}

static bool make_registry_client(struct node *node, const struct options *options,
                                 struct error *error)
{
    size_t count = options->registry_mirrors.count;
    cleanup_free struct registry_mirror *mirrors = calloc(count + 1, sizeof(*mirrors));
    if (!mirrors)
        abort(); /* out of memory */
    for (size_t i = 0; i < count; i++)
        if (!registry_mirror_parse(options->registry_mirrors.values[i], &mirrors[i], error))
            return error_context(error, "--registry-mirror");
    if (options->registry_ca && access(options->registry_ca, R_OK) != 0)
        return error_set_errno(error, ERROR_INVALID_ARGUMENT, errno,
                               "--registry-ca \"%s\" cannot be read", options->registry_ca);
    struct registry_config config = {
        .ca_path = options->registry_ca,
        .docker_config_path = options->registry_auth,
        .insecure_registries = options->insecure_registries.values,
        .insecure_registry_count = options->insecure_registries.count,
        .allowed_registries = options->allowed_registries.values,
        .allowed_registry_count = options->allowed_registries.count,
        .loopback_must_be_named = options->tokens || options->no_auth,
        .mirrors = mirrors,
        .mirror_count = count,
    };
    node->registry = registry_client_new(&config);
    return true;
}

/* A step of a pull, on the puller's threads. */
static void log_pull(void *context, const char *event, const struct pull *pull,
                     const struct error *why, const char *detail)
{
    const struct node *node = context;
    LOG(&node->log, why ? LOG_WARNING : LOG_INFO, event,
        FIELD_TEXT("pull_id", pull ? pull->id : NULL),
        FIELD_TEXT("reference", pull ? pull->reference : NULL),
        FIELD_TEXT("platform", pull ? pull->platform : NULL),
        FIELD_TEXT("code", why ? error_code_name(why->code) : NULL),
        FIELD_TEXT("error", why ? why->message : NULL), FIELD_TEXT("detail", detail));
}

/* The same way out as for everybody else who wants the node to end, but for its exit code. */
static void stop_too_old(void *context, const char *detail)
{
    struct node *node = context;
    if (atomic_exchange(&node->is_too_old, true))
        return;
    LOG(&node->log, LOG_ERROR, "this node is too old", FIELD_TEXT("detail", detail));
    kill(getpid(), SIGTERM);
}

bool node_start_puller(struct node *node, const char *address, struct error *error)
{
    const struct options *options = node->options;
    struct puller_config config = {
        .catalogue = node->catalogue,
        .blobdir = node->blobdir,
        .registry = node->registry,
        .node_id = node->id,
        .address = address,
        .default_platform = &node->platform,
        .pull_jobs = (unsigned)options->pull_jobs,
        .layer_jobs = (unsigned)options->layer_jobs,
        .max_layer_bytes = options->max_layer_bytes,
        .max_image_bytes = options->max_image_bytes,
        .max_inflate_ratio = options->max_inflate_ratio,
        .convert_timeout_seconds = (unsigned)((options->convert_timeout_ms + 999) / 1000),
        .max_archive_bytes = options->max_archive_bytes,
        .max_image_layers = (unsigned)options->max_image_layers,
        .log = log_pull,
        .too_old = stop_too_old,
        .log_context = node,
    };
    node->puller = puller_start(&config, error);
    return node->puller;
}

static bool open_files(struct node *node, enum directory_claim claim, struct error *error)
{
    const struct options *options = node->options;
    if (!make_directory(options->blob_dir, error))
        return false;
    node->blobdir = blobdir_open(options->blob_dir, node->id, error);
    return node->blobdir &&
           directory_bind(node->catalogue, node->blobdir, options->blob_dir, claim, error) &&
           make_registry_client(node, options, error);
}

static bool open_starts(struct node *node, struct error *error)
{
    struct catalogue_config config = {
        .conninfo = node->conninfo,
        .sibling = node->catalogue,
        .name = "larder starts",
        .generic_plans = true,
        .max_sessions = SESSIONS_FOR_STARTS,
        .acquire_timeout_ms = ACQUIRE_TIMEOUT_MS,
        .statement_timeout_ms = STATEMENT_TIMEOUT_MS,
    };
    node->starts = catalogue_open(&config, error);
    return node->starts;
}

static bool start_cache(struct node *node, struct error *error)
{
    node->cache = read_cache_new(node->options->cache_bytes);
    node->lease = cache_lease_new(node->cache, node->catalogue, node->options->max_staleness_ms);
    node->fence_gate = fence_gate_new();
    node->poller = cache_poller_start(node, error);
    return node->poller;
}

static bool start_log_writer(struct node *node, struct error *error)
{
    node->log.writer = log_writer_start(&node->log, error);
    return node->log.writer;
}

static bool open_parts(struct node *node, struct error *error)
{
    return start_log_writer(node, error) && open_files(node, DIRECTORY_MUST_MATCH, error) &&
           blobdir_probe(node->blobdir, error) && open_starts(node, error) &&
           start_cache(node, error);
}

bool node_start_work(struct node *node, const char *address, struct error *error)
{
    if (!node_start_puller(node, address, error))
        return false;
    node->reaper = reaper_thread_start(node->catalogue, node->blobdir, &node->log, error);
    if (!node->reaper)
        return false;
    node->sweeper = sweep_thread_start(node, error);
    if (!node->sweeper || !scrub_thread_start(node, &node->scrubber, error))
        return false;
    node->inventory = inventory_thread_start(node, error);
    return node->inventory;
}

static bool choose_platform(const struct options *options, struct platform *platform,
                            struct error *error)
{
    *platform = platform_of_machine();
    if (options->platform && !platform_parse(options->platform, platform, error))
        return error_context(error, "--platform");
    return true;
}

bool node_open_store(struct node *node, const struct options *options, struct error *error)
{
    struct platform platform;
    if (!choose_platform(options, &platform, error) || !node_open_catalogue(node, options, error))
        return false;
    node->platform = platform;
    enum directory_claim claim = options->adopt_directory ? DIRECTORY_ADOPT
                                 : options->repair        ? DIRECTORY_TAKE_OVER
                                                          : DIRECTORY_LOOK;
    return open_files(node, claim, error);
}

bool node_start(struct node *node, const struct options *options, struct error *error)
{
    struct platform platform;
    struct auth *auth = NULL;
    struct tls *tls = NULL;
    if (!choose_platform(options, &platform, error) || !tls_open(options, &tls, error))
        return false;
    if (!(auth = auth_new(options, error))) {
        tls_close(tls);
        return false;
    }
    bool is_open = node_open_catalogue(node, options, error);
    node->auth = auth;
    node->tls = tls;
    node->platform = platform;
    if (is_open && open_parts(node, error))
        return true;
    node_stop(node);
    return false;
}

void node_stop(struct node *node)
{
    periodic_stop(node->inventory);
    periodic_stop(node->scrubber);
    periodic_stop(node->sweeper);
    reaper_thread_stop(node->reaper);
    puller_stop(node->puller);
    registry_client_free(node->registry);
    blobdir_close(node->blobdir);
    cache_poller_stop(node->poller);
    fence_gate_free(node->fence_gate);
    cache_lease_free(node->lease);
    read_cache_free(node->cache);
    catalogue_close(node->starts);
    catalogue_close(node->catalogue);
    private_postgres_stop(node->postgres);
    auth_free(node->auth);
    tls_close(node->tls);
    log_writer_stop(node->log.writer); /* all others may have something to say */
    *node = (struct node){0};
}
