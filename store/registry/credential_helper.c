#include "store/registry/credentials.h"

#include "store/registry/registry_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CANCEL_SLICE_MS = 100 }; /* how late a cancel may be seen */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void cleanup_actions(posix_spawn_file_actions_t *actions)
{
    posix_spawn_file_actions_destroy(actions);
}

/* The server's name as the helper's whole stdin: a file in memory, because a pipe
 * would raise SIGPIPE when the helper does not read it. */
static int question_fd(const char *server)
{
    cleanup_fd int fd = memfd_create("credential-server", MFD_CLOEXEC);
    size_t length = strlen(server);
    if (fd < 0 || write(fd, server, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET) != 0)
        return -1;
    return steal_fd(&fd);
}

static void cleanup_attributes(posix_spawnattr_t *attributes)
{
    posix_spawnattr_destroy(attributes);
}

/* The node ignores and blocks signals that the helper should see as usual. */
static void set_usual_signals(posix_spawnattr_t *attributes)
{
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(attributes, &signals);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(attributes, &signals);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

static int spawn_helper(const char *program, int in_fd, int out_fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions cleanup(cleanup_actions);
    char *arguments[] = {(char *)(uintptr_t)program, (char[]){"get"}, NULL};
    posix_spawnattr_t attributes cleanup(cleanup_attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    set_usual_signals(&attributes);
    posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    return posix_spawnp(pid, program, &actions, &attributes, arguments, environ);
}

/* How long a helper is waited for. */
struct patience {
    int64_t deadline_ms;
    const atomic_bool *cancel; /* NULL: nobody cancels */
};

static bool is_over(const struct patience *patience)
{
    return now_ms() >= patience->deadline_ms || registry_is_cancelled(patience->cancel);
}

static bool wait_until_readable(int fd, const struct patience *patience)
{
    while (!is_over(patience)) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int ready = poll(&readable, 1, CANCEL_SLICE_MS);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
    return false;
}

/* Reads until the helper closes its stdout, the buffer is full or the patience is over. */
static bool read_answer(int fd, char *bytes, size_t capacity, size_t *size,
                        const struct patience *patience)
{
    *size = 0;
    while (*size < capacity) {
        if (!wait_until_readable(fd, patience))
            return false;
        ssize_t count = read(fd, bytes + *size, capacity - *size);
        if (count == 0)
            return true;
        if (count < 0 && errno != EINTR)
            return false;
        if (count > 0)
            *size += (size_t)count;
    }
    return false;
}

/* Reaps the helper, which may end by itself as long as the patience lasts. */
static int reap(pid_t pid, bool kill_now, const struct patience *patience)
{
    int status = 0;
    while (!kill_now && waitpid(pid, &status, WNOHANG) == 0) {
        kill_now = is_over(patience);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    if (kill_now) {
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    return status;
}

static bool helper_failed(struct error *error, const char *program, const char *how)
{
    return error_set(error, ERROR_PULL_FAILED, "the credential helper %s %s", program, how);
}

/* docker-credential-helpers' words for "I know nothing of that server". */
static bool says_not_found(const char *bytes, size_t size)
{
    static const char text[] = "credentials not found";
    return memmem(bytes, size, text, sizeof(text) - 1) != NULL;
}

bool credential_helper_get(struct arena *arena, const char *helper, const char *server,
                           const atomic_bool *cancel, struct docker_login *login,
                           struct error *error)
{
    const char *program = arena_printf(arena, "docker-credential-%s", helper);
    cleanup_fd int question = question_fd(server);
    int ends[2];
    if (question < 0 || pipe2(ends, O_CLOEXEC) != 0)
        return error_set_errno(error, ERROR_PULL_FAILED, errno, "cannot run %s", program);
    cleanup_fd int answer = ends[0];
    cleanup_fd int helpers_end = ends[1];

    pid_t pid;
    int failure = spawn_helper(program, question, helpers_end, &pid);
    if (failure)
        return error_set_errno(error, ERROR_PULL_FAILED, failure, "cannot run %s", program);
    close(steal_fd(&helpers_end));

    const struct patience patience = {now_ms() + CREDENTIAL_HELPER_SECONDS * INT64_C(1000), cancel};
    char *bytes = arena_alloc(arena, CREDENTIAL_HELPER_MAX_BYTES);
    size_t size;
    bool whole = read_answer(answer, bytes, CREDENTIAL_HELPER_MAX_BYTES, &size, &patience);
    int status = reap(pid, !whole, &patience);
    if (registry_is_cancelled(cancel))
        return registry_cancelled(error);
    if (!whole)
        return helper_failed(error, program, "took too long or said too much");
    *login = (struct docker_login){0};
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return docker_config_parse_helper(arena, bytes, size, login, error);
    return says_not_found(bytes, size) || helper_failed(error, program, "failed");
}
