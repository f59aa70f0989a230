/* The pool: a bounded number of sessions, handed out last used first. */
#include "store/catalogue/session_internal.h"
#include "store/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    RECONNECT_PAUSE_MS = 50,
    RETRY_AFTER_SECONDS = 1,
    BACKEND_LOOKS = 5,
};

struct catalogue {
    struct servers *servers; /* owned, unless it is a sibling's */
    bool owns_servers;
    bool is_heartbeat;
    char *application_name;
    unsigned acquire_timeout_ms;
    unsigned session_count;
    struct catalogue_session *sessions; /* session_count of them */

    pthread_mutex_t mutex; /* guards what follows; never held across I/O */
    pthread_cond_t released;
    struct catalogue_session *free; /* a stack */
    unsigned free_count;
    bool away; /* someone waited in vain for PostgreSQL: the next ones do not */
};

static void init_synchronisation(struct catalogue *catalogue)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&catalogue->released, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&catalogue->mutex, NULL);
}

static void push_free(struct catalogue *catalogue, struct catalogue_session *session)
{
    session->next_free = catalogue->free;
    catalogue->free = session;
    catalogue->free_count++;
}

struct catalogue *catalogue_open(const struct catalogue_config *config, struct error *error)
{
    assert(config->max_sessions > 0);
    struct servers *servers =
        config->sibling ? config->sibling->servers : servers_new(config->conninfo, error);
    if (!servers)
        return NULL;
    struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
    struct catalogue_session *sessions = calloc(config->max_sessions, sizeof(*sessions));
    char *name = NULL;
    if (asprintf(&name, "%s%s", config->node_id ? NODE_APPLICATION_PREFIX : "",
                 config->node_id ? config->node_id
                 : config->name  ? config->name
                                 : "larder") < 0 ||
        !catalogue || !sessions)
        abort();
    *catalogue = (struct catalogue){.servers = servers,
                                    .is_heartbeat = config->is_heartbeat,
                                    .owns_servers = !config->sibling,
                                    .application_name = name,
                                    .acquire_timeout_ms = config->acquire_timeout_ms,
                                    .session_count = config->max_sessions,
                                    .sessions = sessions};
    init_synchronisation(catalogue);
    for (unsigned i = 0; i < config->max_sessions; i++) {
        sessions[i].catalogue = catalogue;
        sessions[i].servers = catalogue->servers;
        sessions[i].default_timeout_ms = config->statement_timeout_ms;
        sessions[i].statement_timeout_ms = config->statement_timeout_ms;
        sessions[i].generic_plans = config->generic_plans;
        sessions[i].is_heartbeat = config->is_heartbeat;
        sessions[i].application_name = name;
        push_free(catalogue, &sessions[i]);
    }
    if (config->is_heartbeat)
        servers_have_heartbeat(servers, true);
    if (catalogue->owns_servers)
        metric_set(METRIC_CATALOGUE_SESSIONS_MAX, config->max_sessions);
    return catalogue;
}

void catalogue_close(struct catalogue *catalogue)
{
    if (!catalogue)
        return;
    assert(catalogue->free_count == catalogue->session_count);
    for (unsigned i = 0; i < catalogue->session_count; i++) {
        session_disconnect(&catalogue->sessions[i]);
        prepared_free(&catalogue->sessions[i].prepared);
    }
    pthread_cond_destroy(&catalogue->released);
    pthread_mutex_destroy(&catalogue->mutex);
    free(catalogue->sessions);
    if (catalogue->is_heartbeat)
        servers_have_heartbeat(catalogue->servers, false);
    if (catalogue->owns_servers)
        servers_free(catalogue->servers);
    free(catalogue->application_name);
    free(catalogue);
}

static struct timespec timespec_of_ms(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
}

/* Of the pool that all nodes have most of their work in; the others are small and have none to
 * wait. */
static void count_in_use(const struct catalogue *catalogue, int more)
{
    if (catalogue->owns_servers)
        metric_add(METRIC_CATALOGUE_SESSIONS_IN_USE, more);
}

/* NULL when every session stayed busy until the deadline. */
static struct catalogue_session *take_free(struct catalogue *catalogue, int64_t deadline_ms)
{
    struct timespec deadline = timespec_of_ms(deadline_ms);
    int64_t begun_us = metric_now_us();
    pthread_mutex_lock(&catalogue->mutex);
    int waited = 0;
    while (!catalogue->free && waited == 0)
        waited = pthread_cond_timedwait(&catalogue->released, &catalogue->mutex, &deadline);
    struct catalogue_session *session = catalogue->free;
    if (session) {
        catalogue->free = session->next_free;
        catalogue->free_count--;
    }
    pthread_mutex_unlock(&catalogue->mutex);
    metric_observe(METRIC_CATALOGUE_ACQUIRE_SECONDS, metric_now_us() - begun_us);
    count_in_use(catalogue, session ? 1 : 0);
    return session;
}

static void give_free(struct catalogue *catalogue, struct catalogue_session *session)
{
    count_in_use(catalogue, -1);
    pthread_mutex_lock(&catalogue->mutex);
    push_free(catalogue, session);
    pthread_cond_signal(&catalogue->released);
    pthread_mutex_unlock(&catalogue->mutex);
}

static bool is_away(struct catalogue *catalogue)
{
    pthread_mutex_lock(&catalogue->mutex);
    bool away = catalogue->away;
    pthread_mutex_unlock(&catalogue->mutex);
    return away;
}

static void set_away(struct catalogue *catalogue, bool away)
{
    pthread_mutex_lock(&catalogue->mutex);
    catalogue->away = away;
    pthread_mutex_unlock(&catalogue->mutex);
}

/* A restart of PostgreSQL takes a moment, which a request sits out. Once one has
 * waited in vain, the others try once and answer at once, until it is back. */
static bool reconnect(struct catalogue *catalogue, struct catalogue_session *session,
                      int64_t deadline_ms, struct error *error)
{
    while (!session_connect(session, error)) {
        bool time_is_up = monotonic_ms() + RECONNECT_PAUSE_MS >= deadline_ms;
        if (time_is_up || is_away(catalogue)) {
            set_away(catalogue, true);
            return false;
        }
        struct timespec pause = timespec_of_ms(RECONNECT_PAUSE_MS);
        nanosleep(&pause, NULL);
    }
    set_away(catalogue, false);
    *error = (struct error){0};
    return true;
}

struct catalogue_session *catalogue_acquire(struct catalogue *catalogue, struct error *error)
{
    int64_t deadline_ms = monotonic_ms() + catalogue->acquire_timeout_ms;
    struct catalogue_session *session = take_free(catalogue, deadline_ms);
    if (!session) {
        error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
                  "all %u connections to PostgreSQL were busy for %u ms", catalogue->session_count,
                  catalogue->acquire_timeout_ms);
        error->retry_after_seconds = RETRY_AFTER_SECONDS;
        return NULL;
    }
    if (session_is_alive(session) || reconnect(catalogue, session, deadline_ms, error))
        return session;
    give_free(catalogue, session);
    return NULL;
}

struct servers *catalogue_servers(const struct catalogue *catalogue)
{
    return catalogue->servers;
}

bool catalogue_connect(struct catalogue *catalogue, struct catalogue_session *session,
                       struct error *error)
{
    session->servers = catalogue->servers;
    return session_connect(session, error);
}

void catalogue_distrust(struct catalogue *catalogue)
{
    servers_distrust(catalogue->servers);
}

void catalogue_release(struct catalogue_session *session)
{
    if (!session)
        return;
    session_rollback(session);
    give_free(session->catalogue, session);
}

static const struct statement ping = {"ping", "SELECT 1"};

bool catalogue_ping(struct catalogue *catalogue, struct error *error)
{
    cleanup_session struct catalogue_session *session = catalogue_acquire(catalogue, error);
    if (!session)
        return false;
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    return session_query(session, &ping, NULL, 0, &arena, &rows, error);
}

static bool find_backend(struct catalogue_session *session, int64_t *pid, struct error *error)
{
    static const char sql[] = "SELECT pg_backend_pid()";
    if (!session->connection || !PQsendQuery(session->connection, sql)) {
        error_set(error, ERROR_CATALOGUE_UNAVAILABLE, "the connection to PostgreSQL was lost");
        error->retry_after_seconds = RETRY_AFTER_SECONDS;
        return false;
    }
    cleanup_result PGresult *result =
        session_receive(session, session->statement_timeout_ms, sql, error);
    *pid = result ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    return result;
}

/* Not prepared: that is what may not work there. A pooler hands out the connection that was used
 * last: the second client gets the first one's, and keeps it until its transaction ends. */
static bool look_at_backends(struct catalogue_session *first, struct catalogue_session *second,
                             bool *own, struct error *error)
{
    int64_t before = 0;
    int64_t others = 0;
    int64_t after = 0;
    if (!find_backend(first, &before, error) || !session_begin(second, error) ||
        !find_backend(second, &others, error) || !find_backend(first, &after, error))
        return false;
    session_rollback(second);
    *own = before == after && before != others;
    return true;
}

/* Some looks, for a pooler's other client may have had the first one's meanwhile. */
bool catalogue_check_sessions(struct catalogue *catalogue, struct error *error)
{
    cleanup_session struct catalogue_session *first = catalogue_acquire(catalogue, error);
    if (!first)
        return false;
    cleanup_session struct catalogue_session *second = catalogue_acquire(catalogue, error);
    if (!second)
        return false;
    bool own = true;
    for (int looks = 0; own && looks < BACKEND_LOOKS; looks++)
        if (!look_at_backends(first, second, &own, error))
            return false;
    return own ||
           error_set(error, ERROR_INTERNAL,
                     "PostgreSQL is reached through a pooler in transaction mode, which loses the "
                     "locks and prepared statements that Larder keeps on its connections: set "
                     "pool_mode = session for this database, or give --database the address of "
                     "PostgreSQL itself");
}
