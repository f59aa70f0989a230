#include "server/listener.h"

#include "store/cleanup.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const char unix_prefix[] = "unix:";

static bool refuse(struct error *error, const char *address, const char *why)
{
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "--listen \"%s\": %s; write host:port (as 127.0.0.1:8420 or [::1]:8420, port "
                     "0 for a free one) or unix:/path",
                     address, why);
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof(in6));
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && in6.sin6_addr.s6_addr[12] == 127);
}

static bool start_listening(int fd, const struct sockaddr *address, socklen_t size,
                            const char *text, struct error *error)
{
    if (bind(fd, address, size) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "Cannot listen on %s", text);
    /* After bind(), which thus still fails when another process listens there; before
     * listen(), so that twins may join. A unix socket has none, and does without. */
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (listen(fd, SOMAXCONN) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "Cannot listen on %s", text);
    return true;
}

/* A socket file that refuses connections was left by a node that is gone. */
static bool is_stale(const struct sockaddr_un *name)
{
    struct stat status;
    if (stat(name->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (const struct sockaddr *)name, sizeof(*name)) != 0 &&
           errno == ECONNREFUSED;
}

/* The kernel lets nobody connect who may not write there: by the umask the owner alone. */
static bool let_users_in(const char *path, struct error *error)
{
    enum { EVERYBODY = 0666 };
    return chmod(path, EVERYBODY) == 0 ||
           error_set_errno(error, ERROR_INTERNAL, errno, "Cannot let users connect to %s", path);
}

static bool open_unix(const char *address, const struct listener_options *options,
                      struct listener *listener, struct error *error)
{
    const char *path = address + strlen(unix_prefix);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (path[0] != '/')
        return refuse(error, address, "the path of the socket must be absolute");
    if (strlen(path) >= sizeof(name.sun_path))
        return refuse(error, address, "the path of the socket is longer than 107 characters");
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);

    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "No socket for %s", address);
    if (is_stale(&name))
        unlink(path);
    if (!start_listening(fd, (const struct sockaddr *)&name, sizeof(name), address, error) ||
        (options->lets_users_in && !let_users_in(path, error)))
        return false;
    listener->fd = steal_fd(&fd);
    listener->is_private = true;
    snprintf(listener->url, sizeof(listener->url), "%s", address);
    return true;
}

/* "host:port" cut in two; brackets around an IPv6 address taken off. */
static bool split_address(const char *address, char *host, size_t host_size, char *port,
                          size_t port_size, struct error *error)
{
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address)
        return refuse(error, address, colon ? "the host is missing" : "the port is missing");
    size_t port_length = strlen(colon + 1);
    if (port_length == 0 || port_length > 5 || port_length >= port_size ||
        strspn(colon + 1, "0123456789") != port_length || strtol(colon + 1, NULL, 10) > 65535)
        return refuse(error, address, "the port is not a number from 0 to 65535");
    snprintf(port, port_size, "%s", colon + 1);

    size_t length = (size_t)(colon - address);
    bool bracketed = address[0] == '[' && address[length - 1] == ']';
    if (!bracketed && memchr(address, ':', length))
        return refuse(error, address, "an IPv6 address needs brackets");
    if (length >= host_size)
        return refuse(error, address, "the host is too long");
    snprintf(host, host_size, "%.*s", (int)(bracketed ? length - 2 : length),
             bracketed ? address + 1 : address);
    return true;
}

static void describe(struct listener *listener)
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof(bound);
    char host[INET6_ADDRSTRLEN + 16] = "";
    char port[8] = "";
    getsockname(listener->fd, (struct sockaddr *)&bound, &size);
    getnameinfo((struct sockaddr *)&bound, size, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool brackets = bound.ss_family == AF_INET6;
    snprintf(listener->url, sizeof(listener->url), "http%s://%s%s%s:%s",
             listener->uses_tls ? "s" : "", brackets ? "[" : "", host, brackets ? "]" : "", port);
    listener->is_private = is_loopback((struct sockaddr *)&bound);
}

static void cleanup_addrinfo_slot(struct addrinfo **slot)
{
    if (*slot)
        freeaddrinfo(*slot);
}

static bool open_tcp(const char *address, bool uses_tls, struct listener *listener,
                     struct error *error)
{
    char host[256];
    char port[8];
    if (!split_address(address, host, sizeof(host), port, sizeof(port), error))
        return false;

    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    cleanup(cleanup_addrinfo_slot) struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed)
        return refuse(error, address, gai_strerror(failed));

    cleanup_fd int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "No socket for %s", address);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (!start_listening(fd, found->ai_addr, found->ai_addrlen, address, error))
        return false;
    listener->fd = steal_fd(&fd);
    listener->uses_tls = uses_tls;
    describe(listener);
    return true;
}

bool listener_open(const char *address, const struct listener_options *options,
                   struct listener *listener, struct error *error)
{
    *listener = (struct listener){.fd = -1};
    if (strncmp(address, unix_prefix, strlen(unix_prefix)) == 0)
        return open_unix(address, options, listener, error);
    return open_tcp(address, options->uses_tls, listener, error);
}

int listener_open_twin(const struct listener *listener)
{
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof(bound);
    int on = 1;
    if (getsockname(listener->fd, (struct sockaddr *)&bound, &size) != 0 ||
        bound.ss_family == AF_UNIX)
        return -1;
    cleanup_fd int fd = socket(bound.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&bound, size) != 0 || listen(fd, SOMAXCONN) != 0)
        return -1;
    return steal_fd(&fd);
}

void listener_close(struct listener *listener)
{
    if (strncmp(listener->url, unix_prefix, strlen(unix_prefix)) == 0)
        unlink(listener->url + strlen(unix_prefix));
    if (listener->fd >= 0)
        close(listener->fd);
    *listener = (struct listener){.fd = -1};
}
