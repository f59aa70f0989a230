#include "store/catalogue/pipeline.h"

#include "database.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

static void begin(void);
static void end(void);
TestSuite(pipeline, .init = begin, .fini = end);

static const struct statement echo = {"test_echo", "SELECT $1::text, $1::int * 2"};
static const struct statement divide = {"test_divide", "SELECT 1 / $1::int"};
static const struct statement pid = {"test_pid", "SELECT pg_backend_pid()"};

static int epoll_fd = -1;
static struct pipeline *pipeline;
static unsigned lost_count;
static unsigned done_count;
static char log_text[4096]; /* what came, in its order: "1=2 " or "1!Code " */

struct asked {
    struct pipeline_query query; /* first */
    char parameter[16];
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void lost(void *context)
{
    (void)context;
    lost_count++;
}

static void attach(void)
{
    struct error error = {0};
    struct pipeline_connection *connection = pipeline_connect(database_catalogue, &error);
    cr_assert(connection, "%s", error.message);
    pipeline_attach(pipeline, connection);
}

static void begin(void)
{
    database_begin();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    pipeline = pipeline_new(database_catalogue, epoll_fd, &epoll_fd, lost, NULL);
}

static void end(void)
{
    pipeline_free(pipeline);
    close(epoll_fd);
    database_end();
}

static void done(struct pipeline_query *query, const struct rows *rows, const struct error *error)
{
    struct asked *asked = (struct asked *)query;
    size_t used = strlen(log_text);
    if (rows)
        snprintf(log_text + used, sizeof(log_text) - used, "%s=%s ", asked->parameter,
                 rows_text(rows, 0, rows->column_count - 1));
    else
        snprintf(log_text + used, sizeof(log_text) - used, "%s!%s ", asked->parameter,
                 error_code_name(error->code));
    done_count++;
}

static bool ask(struct asked *asked, const struct statement *statement, int number, int patience_ms)
{
    struct error error;
    *asked = (struct asked){.query = {.statement = statement,
                                      .parameter_count = statement == &pid ? 0 : 1,
                                      .deadline_ms = now_ms() + patience_ms,
                                      .done = done}};
    snprintf(asked->parameter, sizeof(asked->parameter), "%d", number);
    asked->query.parameters[0] = asked->parameter;
    return pipeline_submit(pipeline, &asked->query, &error);
}

/* As an event loop, until `count` are done. */
static void run_until(unsigned count)
{
    int64_t deadline_ms = now_ms() + 20000;
    while (done_count < count) {
        cr_assert_lt(now_ms(), deadline_ms, "%u of %u are done: %s", done_count, count, log_text);
        pipeline_flush(pipeline);
        struct epoll_event event;
        int wait_ms = pipeline_expire(pipeline);
        if (epoll_wait(epoll_fd, &event, 1, wait_ms >= 0 && wait_ms < 50 ? wait_ms : 50) > 0) {
            cr_assert_eq(event.data.ptr, &epoll_fd);
            pipeline_receive(pipeline);
        }
    }
}

Test(pipeline, many_questions_are_answered_in_their_order)
{
    struct asked asked[5];
    attach();
    for (int i = 0; i < 5; i++)
        cr_assert(ask(&asked[i], &echo, i, 5000));
    run_until(5);
    cr_expect_str_eq(log_text, "0=0 1=2 2=4 3=6 4=8 ");
    cr_expect_eq(lost_count, 0);
}

Test(pipeline, an_error_is_its_own_question_s_alone)
{
    struct asked asked[6];
    attach();
    for (int i = 0; i < 6; i++)
        cr_assert(
            ask(&asked[i], i == 1 || i == 4 ? &divide : &echo, i == 1 || i == 4 ? 0 : i, 5000));
    run_until(6);
    cr_expect_eq(lost_count, 0);
    for (int i = 0; i < 6; i++) {
        char wanted[16];
        snprintf(wanted, sizeof(wanted), i == 1 || i == 4 ? "0!Internal" : "%d=%d ", i, 2 * i);
        cr_expect(strstr(log_text, wanted), "%s is missing in %s", wanted, log_text);
    }
    log_text[0] = '\0';
    cr_assert(ask(&asked[0], &divide, 1, 5000));
    run_until(7);
    cr_expect_str_eq(log_text, "1=1 ", "the statement is of use again");
}

Test(pipeline, a_question_asked_without_a_connection_waits_for_one)
{
    struct asked asked;
    cr_assert(ask(&asked, &echo, 1, 5000));
    pipeline_flush(pipeline);
    cr_expect_eq(done_count, 0);
    attach();
    run_until(1);
    cr_expect_str_eq(log_text, "1=2 ");
}

Test(pipeline, questions_outlive_their_connection)
{
    struct asked asked[3];
    attach();
    cr_assert(ask(&asked[0], &pid, 0, 5000));
    run_until(1);
    database_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE datname = current_database() AND application_name = 'larder loop'");
    cr_assert(ask(&asked[1], &echo, 1, 5000));
    cr_assert(ask(&asked[2], &echo, 2, 5000));
    while (lost_count == 0) {
        struct epoll_event event;
        pipeline_flush(pipeline);
        if (epoll_wait(epoll_fd, &event, 1, 1000) > 0)
            pipeline_receive(pipeline);
    }
    cr_expect_eq(done_count, 1, "nobody is told of it");
    attach();
    run_until(3);
    cr_expect(strstr(log_text, "1=2 2=4 "), "%s", log_text);
}

static pid_t backend_of_loop(void)
{
    return (pid_t)strtol(
        database_sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                     " AND application_name = 'larder loop'"),
        NULL, 10);
}

Test(pipeline, a_backend_that_stands_still_is_given_up_for_another)
{
    struct asked asked;
    attach();
    pid_t stopped = backend_of_loop();
    kill(stopped, SIGSTOP);
    cr_assert(ask(&asked, &echo, 1, 15000));
    while (lost_count == 0) {
        struct epoll_event event;
        pipeline_flush(pipeline);
        (void)pipeline_expire(pipeline);
        if (epoll_wait(epoll_fd, &event, 1, 20) > 0)
            pipeline_receive(pipeline);
    }
    attach();
    run_until(1);
    cr_expect_str_eq(log_text, "1=2 ");
    kill(stopped, SIGCONT);
}

/* The backend of another session, which is of the same catalogue. */
static void meet_silence(void)
{
    static const struct statement own_pid = {"own_pid", "SELECT pg_backend_pid()"};
    const struct catalogue_config config = {.conninfo = database_conninfo(),
                                            .sibling = database_catalogue,
                                            .max_sessions = 1,
                                            .acquire_timeout_ms = 2000,
                                            .statement_timeout_ms = 200};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    struct error error = {0};
    struct catalogue *sibling = catalogue_open(&config, &error);
    cr_assert_not_null(sibling, "%s", error.message);
    struct catalogue_session *session = catalogue_acquire(sibling, &error);
    cr_assert(session && session_query(session, &own_pid, NULL, 0, &arena, &rows, &error));
    pid_t stopped = (pid_t)rows_int(&rows, 0, 0);
    kill(stopped, SIGSTOP);
    cr_assert_not(session_query(session, &own_pid, NULL, 0, &arena, &rows, &error));
    kill(stopped, SIGCONT);
    catalogue_release(session);
    catalogue_close(sibling);
}

Test(pipeline, an_idle_connection_is_not_trusted_once_a_server_hung)
{
    struct asked asked[2];
    attach();
    cr_assert(ask(&asked[0], &pid, 0, 5000));
    run_until(1);
    meet_silence();
    cr_assert(ask(&asked[1], &echo, 1, 5000));
    pipeline_flush(pipeline);
    cr_expect_eq(lost_count, 1);
    cr_expect_eq(done_count, 1, "it was not asked there");
    attach();
    run_until(2);
    cr_expect(strstr(log_text, "1=2 "), "%s", log_text);
}

static struct catalogue *open_servers(const char *hosts, const char *ports, bool is_heartbeat,
                                      const struct catalogue *sibling)
{
    char text[2048];
    struct error error = {0};
    snprintf(text, sizeof(text), "%s host=%s port=%s", database_conninfo(), hosts, ports);
    const struct catalogue_config config = {.conninfo = text,
                                            .sibling = sibling,
                                            .is_heartbeat = is_heartbeat,
                                            .max_sessions = 1,
                                            .statement_timeout_ms = 5000};
    struct catalogue *catalogue = catalogue_open(&config, &error);
    cr_assert_not_null(catalogue, "%s", error.message);
    return catalogue;
}

/* Of the tests' server and, before it, one where nobody listens. */
static struct catalogue *open_two_servers(bool is_heartbeat, const struct catalogue *sibling)
{
    char hosts[256];
    char ports[32];
    PGconn *connection = PQconnectdb(database_conninfo());
    snprintf(hosts, sizeof(hosts), "127.0.0.1,%s", PQhost(connection));
    snprintf(ports, sizeof(ports), "1,%s", PQport(connection));
    PQfinish(connection);
    return open_servers(hosts, ports, is_heartbeat, sibling);
}

/* One that hangs would cost them two seconds, while another one takes its place. */
Test(pipeline, who_connects_leaves_a_server_that_hangs_to_the_heartbeat)
{
    struct asked asked;
    struct error error = {0};
    struct catalogue *others = open_two_servers(false, NULL);
    struct catalogue *heartbeat = open_two_servers(true, others);
    pipeline_free(pipeline);
    pipeline = pipeline_new(others, epoll_fd, &epoll_fd, lost, NULL);
    pipeline_attach(pipeline, pipeline_connect(others, &error));
    pid_t stopped = backend_of_loop();
    kill(stopped, SIGSTOP);
    cr_assert(ask(&asked, &echo, 1, 1500));
    run_until(1);
    cr_expect_eq(lost_count, 1);
    kill(stopped, SIGCONT);

    cr_expect_not(catalogue_ping(others, &error));
    cr_expect(strstr(error.message, "port 1 failed"), "%s", error.message);
    cr_expect(strstr(error.message, "left out, for they hang: 1 server"), "%s", error.message);
    cr_expect(catalogue_ping(heartbeat, &error), "%s", error.message);
    cr_expect(catalogue_ping(others, &error), "it answers again: %s", error.message);
    pipeline_free(steal(&pipeline));
    catalogue_close(heartbeat);
    catalogue_close(others);
}

/* Listens, and that is all. */
static int listen_only(char ports[static 32])
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_geq(listener, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    snprintf(ports, 32, "%d,1", ntohs(address.sin_port));
    return listener;
}

static unsigned count_attempts(int listener)
{
    unsigned count = 0;
    for (int attempt; (attempt = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0; count++)
        close(attempt);
    return count;
}

Test(pipeline, a_server_that_takes_no_connection_in_time_hangs)
{
    char ports[32];
    struct error error = {0};
    int listener = listen_only(ports);
    struct catalogue *others = open_servers("127.0.0.1,127.0.0.1", ports, false, NULL);
    struct catalogue *heartbeat = open_servers("127.0.0.1,127.0.0.1", ports, true, others);
    cr_expect_not(catalogue_ping(others, &error));
    cr_expect_eq(count_attempts(listener), 1, "%s", error.message);
    cr_expect_not(catalogue_ping(others, &error));
    cr_expect_eq(count_attempts(listener), 0, "%s", error.message);
    cr_expect_not(catalogue_ping(heartbeat, &error));
    cr_expect_eq(count_attempts(listener), 1, "%s", error.message);
    catalogue_close(heartbeat);
    cr_expect_not(catalogue_ping(others, &error));
    cr_expect_eq(count_attempts(listener), 1, "there is no heartbeat: %s", error.message);
    catalogue_close(others);
    close(listener);
}

Test(pipeline, who_waited_in_vain_spares_the_next_ones_the_wait)
{
    struct asked asked[3];
    cr_assert(ask(&asked[0], &echo, 1, 50));
    run_until(1);
    cr_expect_str_eq(log_text, "1!CatalogueUnavailable ");
    cr_expect_not(ask(&asked[1], &echo, 2, 5000), "told at once");
    attach();
    cr_assert(ask(&asked[2], &echo, 3, 5000), "until there is a connection");
    run_until(2);
    cr_expect(strstr(log_text, "3=6 "));
}

Test(pipeline, more_than_it_can_do_in_time_is_refused)
{
    static struct asked asked[PIPELINE_QUERIES_MAX + 1];
    for (int i = 0; i < PIPELINE_QUERIES_MAX; i++)
        cr_assert(ask(&asked[i], &echo, 1, 15000));
    cr_expect_not(ask(&asked[PIPELINE_QUERIES_MAX], &echo, 1, 15000));
    attach();
    run_until(PIPELINE_QUERIES_MAX);
    done_count = 0;
    cr_expect(ask(&asked[0], &echo, 1, 15000), "and taken again later");
    run_until(1);
}

static struct asked asked_at_the_end;

static void ask_again(struct pipeline_query *query, const struct rows *rows,
                      const struct error *error)
{
    done(query, rows, error);
    cr_expect_not(ask(&asked_at_the_end, &echo, 9, 5000), "nobody would tell it");
}

Test(pipeline, who_asks_for_more_at_the_end_is_refused)
{
    struct asked asked;
    cr_assert(ask(&asked, &echo, 1, 5000));
    asked.query.done = ask_again;
    pipeline_free(pipeline);
    pipeline = NULL;
    cr_expect_str_eq(log_text, "1!CatalogueUnavailable ");
}

Test(pipeline, who_still_waits_at_the_end_is_told)
{
    struct asked asked[2];
    cr_assert(ask(&asked[0], &echo, 1, 5000));
    cr_assert(ask(&asked[1], &echo, 2, 5000));
    pipeline_free(pipeline);
    pipeline = NULL;
    cr_expect_str_eq(log_text, "1!CatalogueUnavailable 2!CatalogueUnavailable ");
}
