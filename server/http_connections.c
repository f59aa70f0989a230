#include "server/http_internal.h"

#include "server/tls.h"
#include "store/metrics.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    /* libmicrohttpd's own time-out counts idle time only: a byte a second would live
     * for ever. Longer than that time-out, so that it alone ends idle connections. */
    REQUEST_DEADLINE_US = 75 * 1000 * 1000,
    EXCESS_DEADLINE_US = 5 * 1000 * 1000,
    LOOK_EVERY_MS = 1000,
};
static_assert(REQUEST_DEADLINE_US + 2 * LOOK_EVERY_MS * 1000 < (int)TLS_HANDSHAKE_MAX_US,
              "a handshake ends with its connection");

/* libmicrohttpd 0.9.75 takes a short read for the last of what there is, and then misses
 * an end that came together with it: a reader would wait for the rest until the connection
 * times out. Shutting what is shut already only wakes the loop. */
static void wake_if_left(const struct http_connection *connection)
{
    struct pollfd look = {.fd = connection->fd, .events = POLLRDHUP};
    if (poll(&look, 1, 0) > 0)
        shutdown(connection->fd, SHUT_RD);
}

static void end_slow_ones(struct http_connections *connections)
{
    int64_t now_us = clock_now_us();
    for (struct http_connection *c = connections->first; c; c = c->next) {
        int64_t since = atomic_load(&c->waiting_since);
        int64_t deadline_us = c->is_excess ? EXCESS_DEADLINE_US : REQUEST_DEADLINE_US;
        if (since != 0 && since < now_us - deadline_us)
            shutdown(c->fd, SHUT_RDWR);
        else if (since != 0 && atomic_load(&c->uploads))
            wake_if_left(c);
    }
}

static void *watch(void *argument)
{
    struct http_connections *connections = argument;
    pthread_mutex_lock(&connections->lock);
    while (!connections->stopping) {
        struct timespec at = clock_after_ms(LOOK_EVERY_MS);
        pthread_cond_timedwait(&connections->changed, &connections->lock, &at);
        end_slow_ones(connections);
    }
    pthread_mutex_unlock(&connections->lock);
    return NULL;
}

void http_connections_start(struct http_connections *connections, size_t limit, size_t place_limit)
{
    connections->limit = limit;
    connections->place_limit = place_limit;
    clock_cond_init(&connections->changed);
    pthread_mutex_init(&connections->lock, NULL);
    if (pthread_create(&connections->watcher, NULL, watch, connections) != 0)
        abort();
}

void http_connections_stop(struct http_connections *connections)
{
    pthread_mutex_lock(&connections->lock);
    connections->stopping = true;
    pthread_cond_broadcast(&connections->changed);
    pthread_mutex_unlock(&connections->lock);
    pthread_join(connections->watcher, NULL);
    pthread_cond_destroy(&connections->changed);
    pthread_mutex_destroy(&connections->lock);
}

void http_connections_shut_idle(struct http_connections *connections, int how)
{
    pthread_mutex_lock(&connections->lock);
    connections->draining = true;
    for (struct http_connection *c = connections->first; c; c = c->next)
        if (atomic_load(&c->waiting_since) != 0)
            shutdown(c->fd, how);
    pthread_mutex_unlock(&connections->lock);
}

void http_connections_shut_all(struct http_connections *connections)
{
    pthread_mutex_lock(&connections->lock);
    for (struct http_connection *c = connections->first; c; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    pthread_mutex_unlock(&connections->lock);
}

bool http_connections_wait_closed(struct http_connections *connections, unsigned timeout_ms)
{
    struct timespec at = clock_after_ms(timeout_ms);
    int failed = 0;
    pthread_mutex_lock(&connections->lock);
    while (connections->count > 0 && failed == 0)
        failed = pthread_cond_timedwait(&connections->changed, &connections->lock, &at);
    bool closed = connections->count == 0;
    pthread_mutex_unlock(&connections->lock);
    return closed;
}

static void link_connection(struct http_connections *connections, struct http_connection *one)
{
    pthread_mutex_lock(&connections->lock);
    one->next = connections->first;
    if (one->next)
        one->next->previous = one;
    connections->first = one;
    connections->count++;
    size_t of_place = place_counts_add(&connections->places, &one->peer);
    one->is_excess = connections->count > connections->limit || of_place > connections->place_limit;
    if (connections->count > connections->limit + HTTP_EXCESS_MAX ||
        of_place > connections->place_limit + HTTP_EXCESS_MAX)
        shutdown(one->fd, SHUT_RDWR);
    if (connections->draining)
        shutdown(one->fd, SHUT_RD);
    pthread_mutex_unlock(&connections->lock);
}

static void unlink_connection(struct http_connections *connections, struct http_connection *one)
{
    pthread_mutex_lock(&connections->lock);
    if (one->previous)
        one->previous->next = one->next;
    else
        connections->first = one->next;
    if (one->next)
        one->next->previous = one->previous;
    place_counts_remove(&connections->places, &one->peer);
    if (--connections->count == 0)
        pthread_cond_broadcast(&connections->changed);
    pthread_mutex_unlock(&connections->lock);
}

static void format_remote(struct MHD_Connection *connection, char text[REMOTE_SIZE])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    char host[INET6_ADDRSTRLEN + 10];
    char port[8];
    snprintf(text, REMOTE_SIZE, "unix");
    if (!address || (address->sa_family != AF_INET && address->sa_family != AF_INET6))
        return;
    socklen_t length =
        address->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (getnameinfo(address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        snprintf(text, REMOTE_SIZE, "%s:%s", host, port);
}

static void find_peer(struct MHD_Connection *connection, int fd, struct peer *peer)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    peer_find(fd, info ? info->client_addr : NULL, peer);
}

void http_connection_notify(void *set, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct http_connections *connections = set;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct http_connection *closed = *socket_context;
        http_request_free(closed->request);
        unlink_connection(connections, closed);
        metric_add(METRIC_HTTP_CONNECTIONS, -1);
        free(closed);
        *socket_context = NULL;
        return;
    }
    struct http_connection *one = calloc(1, sizeof(*one));
    if (!one)
        abort();
    one->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    format_remote(connection, one->remote);
    find_peer(connection, one->fd, &one->peer);
    atomic_store(&one->waiting_since, clock_now_us());
    link_connection(connections, one);
    metric_add(METRIC_HTTP_CONNECTIONS, 1);
    *socket_context = one;
}

void http_connection_wait(struct http_server *server, struct http_connection *connection)
{
    atomic_store(&connection->waiting_since, clock_now_us());
    if (atomic_load(&server->draining))
        shutdown(connection->fd, SHUT_RD);
}

struct http_connection *http_connection_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}
