#include "server/connector.h"

#include "server/clock.h"
#include "server/jitter.h"
#include "store/catalogue/pipeline.h"

#include <pthread.h>

enum {
    FIRST_PAUSE_MS = 20,
    PAUSE_MAX_MS = 250,
};

struct wish {
    struct wish *next;
    struct http_loop *loop;
};

struct connector {
    struct node *node;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct wish *wishes; /* owned */
    bool stopping;
};

/* The next loop without a connection; NULL: the end. */
static struct http_loop *next_loop(struct connector *connector)
{
    pthread_mutex_lock(&connector->lock);
    while (!connector->wishes && !connector->stopping)
        pthread_cond_wait(&connector->changed, &connector->lock);
    struct wish *wish = connector->stopping ? NULL : connector->wishes;
    struct http_loop *loop = NULL;
    if (wish) {
        loop = wish->loop;
        connector->wishes = wish->next;
        free(wish);
    }
    pthread_mutex_unlock(&connector->lock);
    return loop;
}

/* False when it is the end. */
static bool pause_for(struct connector *connector, unsigned pause_ms)
{
    struct timespec at = clock_after_ms(pause_ms);
    pthread_mutex_lock(&connector->lock);
    int failed = 0;
    while (!connector->stopping && failed == 0)
        failed = pthread_cond_timedwait(&connector->changed, &connector->lock, &at);
    bool goes_on = !connector->stopping;
    pthread_mutex_unlock(&connector->lock);
    return goes_on;
}

/* NULL when it is the end. */
static struct pipeline_connection *connect_at_last(struct connector *connector)
{
    unsigned pause_ms = FIRST_PAUSE_MS;
    struct error error;
    for (;;) {
        struct pipeline_connection *connection =
            pipeline_connect(connector->node->catalogue, &error);
        if (connection)
            return connection;
        if (!pause_for(connector, jitter_ms(pause_ms)))
            return NULL;
        pause_ms = 2 * pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : PAUSE_MAX_MS;
    }
}

static void *run(void *argument)
{
    struct connector *connector = argument;
    struct http_loop *loop;
    while ((loop = next_loop(connector))) {
        struct pipeline_connection *connection = connect_at_last(connector);
        if (connection)
            http_loop_connect(loop, connection);
    }
    return NULL;
}

struct connector *connector_start(struct node *node, struct error *error)
{
    struct connector *connector = calloc(1, sizeof(*connector));
    if (!connector)
        abort();
    connector->node = node;
    clock_cond_init(&connector->changed);
    pthread_mutex_init(&connector->lock, NULL);
    int failed = pthread_create(&connector->thread, NULL, run, connector);
    if (!failed)
        return connector;
    error_set_errno(error, ERROR_INTERNAL, failed, "The thread that connects does not start");
    free(connector);
    return NULL;
}

void connector_ask(struct connector *connector, struct http_loop *loop)
{
    struct wish *wish = malloc(sizeof(*wish));
    if (!wish)
        abort();
    pthread_mutex_lock(&connector->lock);
    *wish = (struct wish){.next = connector->wishes, .loop = loop};
    connector->wishes = wish;
    pthread_cond_signal(&connector->changed);
    pthread_mutex_unlock(&connector->lock);
}

void connector_stop(struct connector *connector)
{
    if (!connector)
        return;
    pthread_mutex_lock(&connector->lock);
    connector->stopping = true;
    pthread_cond_signal(&connector->changed);
    pthread_mutex_unlock(&connector->lock);
    pthread_join(connector->thread, NULL);
    while (connector->wishes) {
        struct wish *wish = connector->wishes;
        connector->wishes = wish->next;
        free(wish);
    }
    pthread_cond_destroy(&connector->changed);
    pthread_mutex_destroy(&connector->lock);
    free(connector);
}
