/* larder serve: one node, from its options to its last connection. */
#include "server/commands.h"
#include "server/http_server.h"
#include "server/node.h"

#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* Posted by SIGTERM and SIGINT; sem_post may be called from a signal handler. */
static sem_t stop_requested;

static void request_stop(int signal_number)
{
    (void)signal_number;
    int saved = errno;
    sem_post(&stop_requested);
    errno = saved;
}

static void catch_signals(void)
{
    sem_init(&stop_requested, 0, 0);
    struct sigaction stop = {.sa_handler = request_stop, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
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

static bool open_listeners(const struct options *options, struct listeners *listeners,
                           struct error *error)
{
    listeners->each = calloc(options->listen.count, sizeof(*listeners->each));
    if (!listeners->each)
        abort();
    for (; listeners->count < options->listen.count; listeners->count++) {
        struct listener *listener = &listeners->each[listeners->count];
        const char *address = options->listen.values[listeners->count];
        if (!listener_open(address, listener, error))
            return false;
        if (!listener->is_private && !options->no_auth) {
            listener_close(listener);
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "--listen \"%s\" is open to others; without --no-auth only loopback "
                             "addresses and unix sockets are allowed",
                             address);
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

static bool serve_until_stopped(struct node *node, struct listeners *listeners, struct error *error)
{
    struct http_server *server = http_server_start(node, listeners->each, listeners->count, error);
    if (!server)
        return false;
    announce(listeners);
    while (sem_wait(&stop_requested) != 0)
        continue; /* interrupted by another signal */
    sd_notify(0, "STOPPING=1");
    http_server_stop(server);
    return true;
}

static bool run(const struct options *options, struct error *error)
{
    struct node node;
    cleanup(close_listeners) struct listeners listeners = {0};
    if (!node_start(&node, options, error))
        return false;
    bool served =
        open_listeners(options, &listeners, error) && serve_until_stopped(&node, &listeners, error);
    node_stop(&node);
    return served;
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
    catch_signals();
    return run(&options, &error) ? 0 : command_fail(&error);
}
