#include "server/http_server.h"

#include "server/http_internal.h"
#include "server/node.h"
#include "store/puller.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

enum {
    CONNECTION_LIMIT = 4096,             /* beyond it they wait in the backlog */
    FILES_BESIDE_THEM = 512,             /* PostgreSQL, registries, layers, files being sent */
    CONNECTION_MEMORY_BYTES = 32 * 1024, /* request line and headers of one request */
    IDLE_TIMEOUT_SECONDS = 60,
    IDLE_GRACE_MS = 500,
    DRAIN_TIMEOUT_MS = 10 * 1000,
    WORKER_COUNT = 8,
    WORKER_QUEUE_LIMIT = 256, /* at 5 ms a job, the last one waits 160 ms */
};

/* Paths are decoded by path.c, after they are split. */
static size_t leave_escaped(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void log_mhd(void *context, const char *format,
                                                          va_list arguments)
{
    struct http_server *server = context;
    char text[256];
    vsnprintf(text, sizeof(text), format, arguments);
    text[strcspn(text, "\n")] = '\0';
    LOG(&server->node->log, LOG_WARNING, "http", FIELD_TEXT("detail", text));
}

/* As many as there are descriptors for: the soft limit, often 1024, is raised. */
static unsigned connection_limit(void)
{
    const rlim_t wanted = CONNECTION_LIMIT + FILES_BESIDE_THEM;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return CONNECTION_LIMIT;
    if (files.rlim_cur < wanted) {
        files.rlim_cur = files.rlim_max < wanted ? files.rlim_max : wanted;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= wanted)
        return CONNECTION_LIMIT;
    return (unsigned)(files.rlim_cur > 2 * FILES_BESIDE_THEM ? files.rlim_cur - FILES_BESIDE_THEM
                                                             : files.rlim_cur / 2);
}

static struct MHD_Daemon *start_daemon(struct http_server *server, int listen_fd, unsigned limit)
{
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    unsigned loops = (unsigned)get_nprocs();
    return MHD_start_daemon(
        flags, 0, NULL, NULL, http_request_step, server, MHD_OPTION_EXTERNAL_LOGGER, log_mhd,
        server, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_THREAD_POOL_SIZE,
        loops > 1 ? loops : 0U, MHD_OPTION_CONNECTION_LIMIT, limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT,
        1, MHD_OPTION_URI_LOG_CALLBACK, http_request_new, server, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escaped, NULL, MHD_OPTION_NOTIFY_COMPLETED, http_request_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, http_connection_notify, &server->connections, MHD_OPTION_END);
}

struct http_server *http_server_start(struct node *node, struct listener *listeners,
                                      size_t listener_count, struct error *error)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (!server)
        abort();
    server->node = node;
    server->listeners = listeners;
    http_connections_start(&server->connections);
    server->daemons = calloc(listener_count, sizeof(struct MHD_Daemon *));
    if (!server->daemons)
        abort();
    server->workers = worker_pool_start(WORKER_COUNT, WORKER_QUEUE_LIMIT, error);
    server->pull_watch = pull_watch_start(node, http_request_resume, error);
    if (!server->workers || !server->pull_watch)
        goto failed;
    puller_on_end(node->puller, pull_watch_note_end, server->pull_watch);
    unsigned limit = connection_limit() / (unsigned)listener_count;
    for (; server->listener_count < listener_count; server->listener_count++) {
        struct listener *listener = &listeners[server->listener_count];
        struct MHD_Daemon *daemon = start_daemon(server, listener->fd, limit);
        if (!daemon) {
            error_set(error, ERROR_INTERNAL, "Cannot serve HTTP at %s", listener->url);
            goto failed;
        }
        server->daemons[server->listener_count] = daemon;
    }
    return server;
failed:
    http_server_stop(server);
    return NULL;
}

/* Listening ends first; a request that is already here is still answered. */
static void drain(struct http_server *server)
{
    atomic_store(&server->draining, true);
    for (size_t i = 0; i < server->listener_count; i++) {
        MHD_quiesce_daemon(server->daemons[i]);
        listener_close(&server->listeners[i]);
    }
    if (server->pull_watch)
        pull_watch_hurry(server->pull_watch);
    /* libmicrohttpd 0.9 may miss the end of what it reads when half a request came
     * just before it: after a moment, idle connections are simply cut. */
    http_connections_shut_idle(&server->connections, SHUT_RD);
    if (http_connections_wait_closed(&server->connections, IDLE_GRACE_MS))
        return;
    http_connections_shut_idle(&server->connections, SHUT_RDWR);
    if (!http_connections_wait_closed(&server->connections, DRAIN_TIMEOUT_MS))
        http_connections_shut_all(&server->connections);
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    drain(server);
    /* A worker that is done has resumed its connection; MHD aborts on suspended ones. */
    worker_pool_stop(server->workers);
    puller_on_end(server->node->puller, NULL, NULL);
    pull_watch_stop(server->pull_watch);
    for (size_t i = 0; i < server->listener_count; i++)
        MHD_stop_daemon(server->daemons[i]);
    http_connections_stop(&server->connections);
    free(server->daemons);
    free(server);
}
