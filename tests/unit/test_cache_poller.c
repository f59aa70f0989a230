#include "server/cache_poller.h"

#include "database.h"
#include "server/cache_lease.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

TestSuite(cache_poller, .init = database_begin, .fini = database_end);

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

static bool is_trimmed(int)
{
    return strcmp(database_sql("SELECT count(*) FROM change_log"), "0") == 0;
}

static bool has_told(int log_fd)
{
    char text[4096] = "";
    ssize_t length = pread(log_fd, text, sizeof(text) - 1, 0);
    return length > 0 && strstr(text, "the catalogue answers again");
}

/* Whether it happens on a busy node, before some seconds are over; its heartbeat asks that
 * catalogue. */
static bool happens_while_busy(struct catalogue *catalogue, bool (*happened)(int log_fd))
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
    cr_assert_eq(pthread_create(&busy, NULL, keep_fresh, node.lease), 0);
    bool seen = false;
    for (int tries = 0; tries < 100 && !seen; tries++) {
        rest_ms(100);
        seen = happened(node.log.fd);
    }
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
    cr_expect(happens_while_busy(database_catalogue, is_trimmed));
}

Test(cache_poller, that_the_catalogue_is_back_is_told_when_a_fence_heard_of_it)
{
    struct catalogue_config config = {
        .conninfo = "host=/nowhere dbname=none", .name = "away", .max_sessions = 1};
    struct error error = {0};
    struct catalogue *away = catalogue_open(&config, &error);
    cr_assert(away, "%s", error.message);
    cr_expect(happens_while_busy(away, has_told));
    catalogue_close(away);
}
