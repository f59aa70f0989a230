#include "server/cache_poller.h"

#include "database.h"
#include "server/cache_lease.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

TestSuite(cache_poller, .init = database_begin, .fini = database_end);

enum { PATIENCE_SECONDS = 10, SEVERAL_BEATS_SECONDS = 2 };

static atomic_bool is_over;

static void rest_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* A node whose reads ask for fences all the time: none of its heartbeats is wanted. */
static void *keep_fresh(void *lease)
{
    const struct changes none = {.server = "server", .snapshot = "5:5:"};
    while (!atomic_load(&is_over)) {
        cleanup_arena struct arena arena = {0};
        struct lease_question question;
        cache_lease_ask(lease, &arena, &question);
        (void)cache_lease_answer(lease, &question, &none);
        rest_ms(1);
    }
    return NULL;
}

static bool is_at_once(int)
{
    return true;
}

static bool is_trimmed(int)
{
    return strcmp(database_sql("SELECT count(*) FROM change_log"), "0") == 0;
}

static bool log_has(int log_fd, const char *words)
{
    char text[4096] = "";
    ssize_t length = pread(log_fd, text, sizeof(text) - 1, 0);
    return length > 0 && strstr(text, words);
}

static bool is_away(int log_fd)
{
    return log_has(log_fd, "the catalogue does not answer");
}

static bool is_back(int log_fd)
{
    return log_has(log_fd, "the catalogue answers again");
}

static bool comes(bool (*happened)(int log_fd), int log_fd, int seconds)
{
    bool seen = happened(log_fd);
    for (int tries = 0; tries < 10 * seconds && !seen; tries++) {
        rest_ms(100);
        seen = happened(log_fd);
    }
    return seen;
}

/* Whether it happens on a node that is busy since the first has happened, before so many seconds
 * are over; its heartbeat asks that catalogue. */
static bool happens_while_busy(struct catalogue *catalogue, bool (*first)(int log_fd),
                               bool (*happened)(int log_fd), int seconds)
{
    struct options options = {.max_staleness_ms = 1000};
    struct read_cache *cache = read_cache_new(1 << 20);
    struct node node = {.options = &options,
                        .catalogue = catalogue,
                        .lease = cache_lease_new(cache, NULL, 1000),
                        .log = {.fd = memfd_create("log", MFD_CLOEXEC)}};
    struct error error = {0};
    pthread_t busy;
    struct cache_poller *poller = cache_poller_start(&node, &error);
    cr_assert(poller, "%s", error.message);
    cr_assert(comes(first, node.log.fd, PATIENCE_SECONDS));
    cr_assert_eq(pthread_create(&busy, NULL, keep_fresh, node.lease), 0);
    bool seen = comes(happened, node.log.fd, seconds);
    atomic_store(&is_over, true);
    pthread_join(busy, NULL);
    cache_poller_stop(poller);
    cache_lease_free(node.lease);
    read_cache_free(cache);
    close(node.log.fd);
    return seen;
}

Test(cache_poller, the_change_log_of_a_busy_node_is_trimmed)
{
    database_sql("DELETE FROM change_log");
    database_sql("INSERT INTO change_log (key) VALUES ('old')");
    database_sql("INSERT INTO change_marks VALUES (now() - interval '11 minutes',"
                 "                                 pg_current_xact_id())");
    cr_expect(happens_while_busy(database_catalogue, is_at_once, is_trimmed, PATIENCE_SECONDS));
}

/* Where the server's sockets are to be found, from when it is there. */
static char sockets[80];

static bool is_away_and_comes_back(int log_fd)
{
    static const char key[] = "host='";
    const char *host = strstr(database_conninfo(), key);
    cr_assert(host, "%s", database_conninfo());
    host += strlen(key);
    cleanup_free char *directory = strndup(host, strcspn(host, "'"));
    return is_away(log_fd) && symlink(directory, sockets) == 0;
}

Test(cache_poller, that_the_catalogue_is_back_is_told_though_fences_heard_of_it_first)
{
    char directory[64];
    char conninfo[1024];
    scratch_make(directory);
    snprintf(sockets, sizeof(sockets), "%s/run", directory);
    snprintf(conninfo, sizeof(conninfo), "%s host=%s", database_conninfo(), sockets);
    struct catalogue_config config = {.conninfo = conninfo, .name = "away", .max_sessions = 1};
    struct error error = {0};
    struct catalogue *away = catalogue_open(&config, &error);
    cr_assert(away, "%s", error.message);
    cr_expect(happens_while_busy(away, is_away_and_comes_back, is_back, PATIENCE_SECONDS));
    catalogue_close(away);
    scratch_remove(directory);
}

/* Else the log would say so again and again. */
Test(cache_poller, that_the_catalogue_is_back_is_not_told_by_fences_alone)
{
    struct catalogue_config config = {
        .conninfo = "host=/nowhere dbname=none", .name = "away", .max_sessions = 1};
    struct error error = {0};
    struct catalogue *away = catalogue_open(&config, &error);
    cr_assert(away, "%s", error.message);
    cr_expect_not(happens_while_busy(away, is_away, is_back, SEVERAL_BEATS_SECONDS));
    catalogue_close(away);
}
