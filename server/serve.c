/* larder serve: one node, from its options to its last connection. */
#include "server/auth.h"
#include "server/commands.h"
#include "server/http_server.h"
#include "server/node.h"
#include "server/privileges.h"
#include "server/tls.h"

#include <malloc.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

/* Posted for each of our signals, and for each that asks for the end; sem_post may be called from
 * a signal handler. */
static sem_t signalled;
static sem_t stops;
static volatile sig_atomic_t stop_is_requested;

static void take_signal(int signal_number)
{
    int saved = errno;
    if (signal_number != SIGHUP) {
        stop_is_requested = 1;
        sem_post(&stops);
    }
    sem_post(&signalled);
    errno = saved;
}

/* SIGTERM and SIGINT stop, SIGHUP reads files again. */
static void catch_signals(void)
{
    sem_init(&signalled, 0, 0);
    sem_init(&stops, 0, 0);
    struct sigaction ours = {.sa_handler = take_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &ours, NULL);
    sigaction(SIGINT, &ours, NULL);
    sigaction(SIGHUP, &ours, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

static void tell_reload(const struct node *node, const char *what, bool good,
                        const struct error *error)
{
    LOG(&node->log, good ? LOG_INFO : LOG_ERROR, good ? "reloaded" : "not reloaded",
        FIELD_TEXT("what", what), FIELD_TEXT("error", good ? NULL : error->message));
}

/* A broken file of one kind does not hold up the other. */
static void reload(struct node *node)
{
    struct error error;
    if (node->options->tokens)
        tell_reload(node, "tokens", auth_reload(node->auth, &error), &error);
    if (node->tls)
        tell_reload(node, "certificates", tls_reload(node->tls, &error), &error);
}

struct listeners {
    struct listener *each;
    size_t count;
};

static void close_listeners(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++)
        listener_close(&listeners->each[i]);
    free(listeners->each);
}

/* May others than this machine's users reach the address? */
static bool check_exposure(const struct options *options, const char *address, struct error *error)
{
    if (options->no_auth || (options->tokens && options->tls_cert))
        return true;
    if (!options->tokens)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "--listen \"%s\" is open to others: --tokens says who may come in, "
                         "--no-auth lets everybody in",
                         address);
    return options->no_tls ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "--listen \"%s\" would take tokens in the clear: --tls-cert and --tls-key "
                     "encrypt, --no-tls says that something in front of it does",
                     address);
}

static bool open_listeners(const struct options *options, struct listeners *listeners,
                           struct error *error)
{
    const struct listener_options each = {
        .uses_tls = options->tls_cert,
        .lets_users_in = options->unix_users.count > 0 || options->tokens,
    };
    listeners->each = calloc(options->listen.count, sizeof(*listeners->each));
    if (!listeners->each)
        abort();
    for (; listeners->count < options->listen.count; listeners->count++) {
        struct listener *listener = &listeners->each[listeners->count];
        const char *address = options->listen.values[listeners->count];
        if (!listener_open(address, &each, listener, error))
            return false;
        if (!listener->is_private && !check_exposure(options, address, error)) {
            listener_close(listener);
            return false;
        }
    }
    return true;
}

static void announce(const struct listeners *listeners)
{
    printf("larder %s ready at", LARDER_VERSION);
    for (size_t i = 0; i < listeners->count; i++)
        printf(" %s", listeners->each[i].url);
    printf("\n");
    fflush(stdout);
    sd_notify(0, "READY=1");
}

static void wait_for_stop(void)
{
    while (sem_wait(&stops) != 0)
        continue; /* interrupted by a signal */
}

/* Until the delay is over, or whoever asked for the end asks again. */
static void linger(struct http_server *server, uint64_t delay_ms)
{
    struct timespec at;
    http_server_announce_end(server);
    wait_for_stop(); /* it came: the next one is another */
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += (time_t)(delay_ms / 1000);
    at.tv_nsec += (long)(delay_ms % 1000) * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    while (delay_ms > 0 && sem_clockwait(&stops, CLOCK_MONOTONIC, &at) != 0 && errno == EINTR)
        continue;
}

/* Where others reach this node: the first address that is no socket file; a host's name stands
 * for "all addresses". NULL: nowhere. */
static const char *address_of(const struct listeners *listeners, char *address, size_t size)
{
    static const char *const wildcards[] = {"://0.0.0.0:", "://[::]:"};
    for (size_t i = 0; i < listeners->count; i++) {
        const char *url = listeners->each[i].url;
        char hostname[256] = "";
        (void)gethostname(hostname, sizeof(hostname) - 1);
        if (strncmp(url, "http", 4) != 0)
            continue;
        snprintf(address, size, "%s", url);
        for (size_t w = 0; w < sizeof(wildcards) / sizeof(wildcards[0]); w++) {
            const char *at = strstr(url, wildcards[w]);
            if (at)
                snprintf(address, size, "%.*s://%s:%s", (int)(at - url), url, hostname,
                         at + strlen(wildcards[w]));
        }
        return address;
    }
    return NULL;
}

static bool serve_until_stopped(struct node *node, struct listeners *listeners, struct error *error)
{
    struct http_server *server = http_server_start(node, listeners->each, listeners->count, error);
    if (!server)
        return false;
    announce(listeners);
    while (!stop_is_requested) {
        if (sem_wait(&signalled) == 0 && !stop_is_requested)
            reload(node);
    }
    sd_notify(0, "STOPPING=1");
    linger(server, node->options->drain_delay_ms);
    http_server_stop(server);
    return true;
}

/* Answers in memory come and go in all sizes. With an arena of malloc() for each thread, what
 * one frees another does not find: half as much again would be resident. Most of what a
 * request allocates is small, and comes from its thread's own cache. */
static void share_one_heap(void)
{
    mallopt(M_ARENA_MAX, 1);
}

static bool run(const struct options *options, struct error *error)
{
    struct node node;
    cleanup(close_listeners) struct listeners listeners = {0};
    if (!node_start(&node, options, error))
        return false;
    char address[LISTENER_URL_SIZE + 256];
    bool served = open_listeners(options, &listeners, error) &&
                  node_start_work(&node, address_of(&listeners, address, sizeof(address)), error) &&
                  serve_until_stopped(&node, &listeners, error);
    if (served && atomic_load(&node.is_too_old))
        served = error_set(error, ERROR_INTERNAL,
                           "larder %s is too old for what the catalogue was migrated to: start a "
                           "newer larder",
                           LARDER_VERSION);
    node_stop(&node);
    return served;
}

/* Says why, unless who reads the log has stopped: a node must end all the same. */
static int fail(const struct error *error)
{
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&log, 1, 0) == 0 ? command_exit_code(error) : command_fail(error);
}

int command_serve(int argc, char *const *argv)
{
    struct error error;
    cleanup_options struct options options = {0};
    if (!options_parse(OPTIONS_SERVE, argc, argv, &options, &error))
        return command_fail(&error);
    if (options.help) {
        printf("Usage: larder serve [FLAG...]\n\n");
        options_print_help(OPTIONS_SERVE, stdout);
        return 0;
    }
    if (!privileges_drop(&error))
        return command_fail(&error);
    share_one_heap();
    catch_signals();
    return run(&options, &error) ? 0 : fail(&error);
}
