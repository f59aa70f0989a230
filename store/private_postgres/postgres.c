/* The life of the node's own PostgreSQL: taking over, starting, stopping. */
#include "store/private_postgres/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

enum {
    READY_POLL_MS = 20,
    READY_TIMEOUT_MS = 10 * 60 * 1000, /* recovery after a crash takes its time */
    STRAGGLER_POLL_MS = 20,
    STRAGGLERS_MS = 10000,
    RESTART_PAUSE_MS = 500,
};

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* --- a postmaster that a killed node left behind --- */

static pid_t recorded_pid(const struct private_postgres *postgres)
{
    cleanup_fd int fd = openat(postgres->data_fd, "postmaster.pid", O_RDONLY | O_CLOEXEC);
    char text[32] = "";
    ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    return got > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* A postmaster works in its data directory, so no other process that got its number
 * since is taken for it. */
static bool works_in_data(const struct private_postgres *postgres, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cwd", (int)pid);
    struct stat work;
    struct stat data;
    return stat(path, &work) == 0 && fstat(postgres->data_fd, &data) == 0 &&
           work.st_dev == data.st_dev && work.st_ino == data.st_ino;
}

/* A postmaster, or backends that outlived theirs for a moment. */
static bool someone_works_in_data(const struct private_postgres *postgres)
{
    DIR *processes = opendir("/proc");
    if (!processes)
        return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(processes));) {
        long pid = strtol(entry->d_name, NULL, 10);
        found = pid > 0 && works_in_data(postgres, (pid_t)pid);
    }
    closedir(processes);
    return found;
}

static bool wait_for_stragglers(const struct private_postgres *postgres, struct error *error)
{
    for (int waited_ms = 0; someone_works_in_data(postgres); waited_ms += STRAGGLER_POLL_MS) {
        if (waited_ms >= STRAGGLERS_MS)
            return error_set(error, ERROR_INTERNAL,
                             "processes of a PostgreSQL left behind still use %s/data",
                             postgres->directory);
        pause_ms(STRAGGLER_POLL_MS);
    }
    return true;
}

/* We hold node.lock: whoever started it is gone. Its connections went with that node,
 * so a clean stop and a start of our own loses nothing. Once nobody works in the data
 * directory its pid files mean nothing, though the number may be another process's. */
static bool stop_stale(const struct private_postgres *postgres, struct error *error)
{
    pid_t pid = recorded_pid(postgres);
    cleanup_fd int pidfd = pid > 1 ? pidfd_open(pid, 0) : -1;
    if (pidfd >= 0 && works_in_data(postgres, pid) && !process_stop(pidfd, error))
        return error_context(error, "a PostgreSQL (process %d) left behind on %s", (int)pid,
                             postgres->directory);
    if (!wait_for_stragglers(postgres, error))
        return false;
    unlinkat(postgres->data_fd, "postmaster.pid", 0);
    unlinkat(postgres->run_fd, ".s.PGSQL.5432.lock", 0);
    return true;
}

/* --- postgres --- */

static bool start_postmaster(struct private_postgres *postgres, struct error *error)
{
    char program[PATH_MAX + 16];
    snprintf(program, sizeof(program), "%s/postgres", postgres->binaries.directory);
    const char *const argv[] = {
        program, "-D", DATA_PATH, "-p", "5432",
        /* The socket is the only way in. */
        "-c", "listen_addresses=", "-c", "unix_socket_directories=" RUN_PATH, "-c",
        "unix_socket_permissions=0700",
        /* Beside the node on one machine: modest, and of what is not used nothing is taken. A prune
         * of half of 100,000 images goes through 300 MB of tables and writes 500 MB of log: with
         * less it waits for the disk at every page that it needs room for. */
        "-c", "shared_buffers=256MB", "-c", "wal_buffers=16MB", "-c", "max_wal_size=1GB", "-c",
        "max_connections=200", "-c", "jit=off",
        /* Our answers are durable. */
        "-c", "fsync=on", "-c", "synchronous_commit=on", "-c", "full_page_writes=on",
        /* Starts, stops and disasters; errors of statements go to who asked. */
        "-c", "log_min_messages=log", "-c", "log_checkpoints=off", "-c",
        "log_autovacuum_min_duration=-1", "-c", "logging_collector=off", NULL};
    const struct postgres_process process = {.argv = argv,
                                             .owner = postgres->owner,
                                             .data_fd = postgres->data_fd,
                                             .run_fd = postgres->run_fd,
                                             .log_fd = postgres->log_fd};
    if (!process_start(&process, &postgres->pid, error))
        return false;
    postgres->pidfd = pidfd_open(postgres->pid, 0);
    return postgres->pidfd >= 0 ||
           error_set_errno(error, ERROR_INTERNAL, errno, "cannot watch PostgreSQL");
}

static void reap(struct private_postgres *postgres)
{
    while (waitpid(postgres->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(steal_fd(&postgres->pidfd));
}

static bool wait_until_ready(struct private_postgres *postgres, struct error *error)
{
    for (int waited_ms = 0; waited_ms < READY_TIMEOUT_MS; waited_ms += READY_POLL_MS) {
        if (PQping(postgres->conninfo) == PQPING_OK)
            return true;
        if (process_is_gone(postgres->pidfd, READY_POLL_MS)) {
            reap(postgres);
            char line[256];
            cluster_last_log_line(postgres, line, sizeof(line));
            return error_set(error, ERROR_INTERNAL,
                             "PostgreSQL does not start: %s (all of it in %s/postgres.log)", line,
                             postgres->directory);
        }
    }
    return error_set(error, ERROR_INTERNAL, "PostgreSQL on %s did not get ready in %d s",
                     postgres->directory, READY_TIMEOUT_MS / 1000);
}

/* libpq reads a comma as the next host, and a socket's path has little room: then the
 * folder's descriptor stands for it. Quotes and backslashes are escaped. */
static char *make_conninfo(const struct private_postgres *postgres)
{
    char host[PATH_MAX + 8];
    snprintf(host, sizeof(host), "%s/run", postgres->directory);
    struct sockaddr_un address;
    bool fits = strlen(host) + sizeof("/.s.PGSQL.5432") <= sizeof(address.sun_path);
    if (!fits || strchr(host, ',') || host[0] != '/')
        snprintf(host, sizeof(host), "/proc/self/fd/%d", postgres->run_fd);

    char escaped[2 * sizeof(host)];
    char *out = escaped;
    for (const char *in = host; *in; in++) {
        if (*in == '\'' || *in == '\\')
            *out++ = '\\';
        *out++ = *in;
    }
    *out = '\0';
    char *conninfo = NULL;
    if (asprintf(&conninfo, "host='%s' port=5432 user=larder dbname=postgres", escaped) < 0)
        abort();
    return conninfo;
}

/* --- the keeper: a thread that starts a postmaster that died under us again --- */

/* What it fails by is in postgres.log; it tries on, and the pool with it. */
static void restart(struct private_postgres *postgres)
{
    struct error ignored = {0};
    (void)!(stop_stale(postgres, &ignored) && start_postmaster(postgres, &ignored));
}

static void *keep(void *context)
{
    struct private_postgres *postgres = context;
    for (;;) {
        bool runs = postgres->pidfd >= 0;
        struct pollfd events[] = {{.fd = postgres->stop_fd, .events = POLLIN},
                                  {.fd = postgres->pidfd, .events = POLLIN}};
        int ready = poll(events, 2, runs ? -1 : RESTART_PAUSE_MS);
        if (ready > 0 && events[0].revents)
            return NULL;
        if (!runs)
            restart(postgres);
        else if (ready > 0)
            reap(postgres);
    }
}

static bool start_keeper(struct private_postgres *postgres, struct error *error)
{
    postgres->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (postgres->stop_fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot watch PostgreSQL");
    sigset_t all; /* signals are for the threads that await them */
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&postgres->keeper, NULL, keep, postgres);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    postgres->is_kept = failed == 0;
    return !failed || error_set_errno(error, ERROR_INTERNAL, failed, "cannot watch PostgreSQL");
}

static void stop_keeper(struct private_postgres *postgres)
{
    if (!postgres->is_kept)
        return;
    eventfd_write(postgres->stop_fd, 1);
    pthread_join(postgres->keeper, NULL);
}

/* --- */

static bool start(struct private_postgres *postgres, struct error *error)
{
    if (!cluster_open(postgres, error) || !stop_stale(postgres, error))
        return false;
    postgres->conninfo = make_conninfo(postgres);
    return start_postmaster(postgres, error) && wait_until_ready(postgres, error) &&
           start_keeper(postgres, error);
}

static struct private_postgres *postgres_new(const char *directory)
{
    struct private_postgres *postgres = calloc(1, sizeof(*postgres));
    char *copy = strdup(directory);
    if (!postgres || !copy)
        abort();
    *postgres = (struct private_postgres){.directory = copy,
                                          .directory_fd = -1,
                                          .lock_fd = -1,
                                          .data_fd = -1,
                                          .run_fd = -1,
                                          .log_fd = -1,
                                          .stop_fd = -1,
                                          .pidfd = -1};
    return postgres;
}

struct private_postgres *private_postgres_start(const char *directory, struct error *error)
{
    struct private_postgres *postgres = postgres_new(directory);
    if (start(postgres, error))
        return postgres;
    private_postgres_stop(postgres);
    return NULL;
}

bool private_postgres_join(const char *directory, struct private_postgres **postgres,
                           struct error *error)
{
    *postgres = NULL;
    if (!cluster_is_in_use(directory))
        return true;
    struct private_postgres *joined = postgres_new(directory);
    joined->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (joined->directory_fd >= 0)
        joined->run_fd = openat(joined->directory_fd, "run", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (joined->run_fd >= 0) {
        joined->conninfo = make_conninfo(joined);
        *postgres = joined;
        return true;
    }
    (void)error_set_errno(error, ERROR_INTERNAL, errno,
                          "a node runs on %s, and the socket of its PostgreSQL cannot be reached; "
                          "run this as the node's user, or stop the node",
                          directory);
    private_postgres_stop(joined);
    return false;
}

const char *private_postgres_conninfo(const struct private_postgres *postgres)
{
    return postgres->conninfo;
}

void private_postgres_stop(struct private_postgres *postgres)
{
    if (!postgres)
        return;
    stop_keeper(postgres);
    struct error ignored;
    if (postgres->pidfd >= 0 && process_stop(postgres->pidfd, &ignored))
        reap(postgres);
    /* The lock goes last: the next node finds everything at rest. */
    const int fds[] = {postgres->stop_fd, postgres->pidfd,  postgres->data_fd,
                       postgres->run_fd,  postgres->log_fd, postgres->directory_fd,
                       postgres->lock_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(postgres->conninfo);
    free(postgres->directory);
    free(postgres);
}
