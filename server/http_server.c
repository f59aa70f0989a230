#include "server/http_server.h"

#include "server/http_internal.h"
#include "server/node.h"
#include "store/puller.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    FILES_BESIDE_PULLS = 512 + FILES_OPEN_MAX, /* PostgreSQL, registries, layers */
    IDLE_GRACE_MS = 500,
    DRAIN_TIMEOUT_MS = 10 * 1000,
    STOP_LOADS_TIMEOUT_MS = 1000,
    WORKER_COUNT = 8,
    WORKER_QUEUE_LIMIT = 256, /* at 5 ms a job, the last one waits 160 ms */
    LONG_WORKER_COUNT = 2,    /* one prunes, one waits for its files to go */
    LONG_WORKER_QUEUE_LIMIT = 16,
    FILE_WORKER_COUNT = 4,
    FILE_WORKER_QUEUE_LIMIT = 256,
    BOTH_WORKER_COUNT = 8,
    BOTH_WORKER_QUEUE_LIMIT = 256,
};

/* A pull that composes keeps all layers of its image open, and three drafts. There are as many
 * loads as pulls. */
static rlim_t files_beside_connections(const struct options *options)
{
    enum { DRAFTS = 3 };
    return FILES_BESIDE_PULLS + 2 * options->pull_jobs * (options->max_image_layers + DRAFTS);
}

/* As many as are wanted and there are descriptors for: the soft limit, often 1024, is
 * raised. */
static unsigned connection_limit(const struct options *options)
{
    const unsigned limit = (unsigned)options->max_connections;
    const rlim_t beside = files_beside_connections(options);
    const rlim_t wanted = limit + HTTP_EXCESS_MAX + beside;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return limit;
    if (files.rlim_cur < wanted) {
        files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= wanted)
        return limit;
    return (unsigned)(files.rlim_cur > 2 * beside ? files.rlim_cur - beside : files.rlim_cur / 2);
}

/* A container or a unit may have some of the machine's only. */
static size_t processors_allowed(void)
{
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 0;
    return (size_t)(count > 0 ? count : get_nprocs()); /* more than a cpu_set_t tells */
}

static bool start_loops(struct http_server *server, struct error *error)
{
    size_t count = processors_allowed();
    server->loops = calloc(count, sizeof(struct http_loop *));
    if (!server->loops)
        abort();
    server->loops_wanted = count;
    for (; server->loop_count < count; server->loop_count++) {
        struct http_loop *loop = http_loop_start(server, server->loop_count == 0, error);
        if (!loop)
            return false;
        server->loops[server->loop_count] = loop;
    }
    return true;
}

struct http_server *http_server_start(struct node *node, struct listener *listeners,
                                      size_t listener_count, struct error *error)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (!server)
        abort();
    server->node = node;
    server->listeners = listeners;
    server->listener_count = listener_count;
    pthread_mutex_init(&server->late_lock, NULL);
    http_connections_start(&server->connections, connection_limit(node->options),
                           node->options->max_connections_per_address);
    server->workers = worker_pool_start(WORKER_COUNT, WORKER_QUEUE_LIMIT, error);
    server->long_workers = worker_pool_start(LONG_WORKER_COUNT, LONG_WORKER_QUEUE_LIMIT, error);
    server->file_workers = worker_pool_start(FILE_WORKER_COUNT, FILE_WORKER_QUEUE_LIMIT, error);
    server->both_workers = worker_pool_start(BOTH_WORKER_COUNT, BOTH_WORKER_QUEUE_LIMIT, error);
    server->file_sender = file_sender_start(error);
    unsigned uploads = (unsigned)node->options->pull_jobs;
    server->uploads = worker_pool_start(uploads, uploads, error);
    server->pull_watch = pull_watch_start(node, http_request_resume, error);
    server->connector = connector_start(node, error);
    if (!server->workers || !server->long_workers || !server->file_workers ||
        !server->both_workers || !server->file_sender || !server->uploads || !server->pull_watch ||
        !server->connector || !start_loops(server, error)) {
        http_server_stop(server);
        return NULL;
    }
    puller_on_end(node->puller, pull_watch_note_end, server->pull_watch);
    return server;
}

bool http_server_takes_requests(const struct http_server *server, struct error *error)
{
    bool ends = atomic_load(&server->ending) || atomic_load(&server->draining);
    return !ends || error_set(error, ERROR_CATALOGUE_UNAVAILABLE, "this node ends");
}

bool http_server_is_connected(const struct http_server *server, struct error *error)
{
    size_t connected = atomic_load(&server->connected_loops);
    return connected == server->loops_wanted ||
           error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
                     "%zu of %zu event loops are connected to PostgreSQL", connected,
                     server->loops_wanted);
}

void http_server_announce_end(struct http_server *server)
{
    atomic_store(&server->ending, true);
}

/* Listening ends first; a request that is already here is still answered. */
static void drain(struct http_server *server)
{
    atomic_store(&server->draining, true);
    for (size_t i = 0; i < server->loop_count; i++)
        http_loop_quiesce(server->loops[i]);
    for (size_t i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    if (server->pull_watch)
        pull_watch_hurry(server->pull_watch);
    /* libmicrohttpd 0.9 may miss the end of what it reads when half a request came
     * just before it: after a moment, idle connections are simply cut. */
    http_connections_shut_idle(&server->connections, SHUT_RD);
    if (http_connections_wait_closed(&server->connections, IDLE_GRACE_MS))
        return;
    http_connections_shut_idle(&server->connections, SHUT_RDWR);
    if (http_connections_wait_closed(&server->connections, DRAIN_TIMEOUT_MS))
        return;
    puller_stop_loads(server->node->puller);
    if (!http_connections_wait_closed(&server->connections, STOP_LOADS_TIMEOUT_MS))
        http_connections_shut_all(&server->connections);
}

/* After the pools' stop none can be taken any more. But a loop may have one in its hands that is of
 * another loop, and that must not be freed meanwhile. */
static void wait_for_late_answers(struct http_server *server)
{
    pthread_mutex_lock(&server->late_lock);
    pthread_mutex_unlock(&server->late_lock);
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    drain(server);
    /* A worker that is done has resumed its connection; MHD aborts on suspended ones. */
    puller_stop_loads(server->node->puller);
    struct worker_pool *const pools[] = {server->uploads, server->workers, server->long_workers,
                                         server->file_workers, server->both_workers};
    for (size_t i = 0; i < COUNT(pools); i++)
        worker_pool_stop(pools[i]);
    wait_for_late_answers(server);
    file_sender_stop(server->file_sender);
    puller_on_end(server->node->puller, NULL, NULL);
    pull_watch_stop(server->pull_watch);
    connector_stop(server->connector);
    for (size_t i = 0; i < server->loop_count; i++)
        http_loop_stop(server->loops[i]);
    file_sender_free(server->file_sender); /* a loop may have submitted until now */
    http_connections_stop(&server->connections);
    for (size_t i = 0; i < COUNT(pools); i++) /* loops look into them until they end */
        worker_pool_free(pools[i]);
    pthread_mutex_destroy(&server->late_lock);
    free(server->loops);
    free(server);
}
