/* Starting PostgreSQL's programs as another user, and stopping a postmaster. */
#include "store/private_postgres/internal.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Fast shutdown writes a checkpoint, which a busy disk may draw out; the immediate one
 * kills what is left after 5 s by itself. */
enum { FAST_STOP_MS = 30000, IMMEDIATE_STOP_MS = 10000, KILLED_MS = 5000 };

/* Nothing of our environment: PG* variables would change what we start. */
static char *const clean_environment[] = {
    (char[]){"PATH=/usr/local/bin:/usr/bin:/bin"},
    (char[]){"LC_ALL=C"},
    (char[]){"TZ=UTC"},
    NULL,
};

/* execve and posix_spawn do not write to it; C cannot say so. */
static char *const *spawn_argv(const char *const argv[])
{
    union {
        const char *const *given;
        char *const *wanted;
    } as = {.given = argv};
    return as.wanted;
}

bool process_first_line(const char *const argv[], char *line, size_t size)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    cleanup_file FILE *out = fdopen(ends[0], "r");
    cleanup_fd int in = ends[1];
    if (!out) {
        close(ends[0]);
        return false;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDOUT_FILENO);
    pid_t pid = 0;
    int failed = posix_spawn(&pid, argv[0], &actions, NULL, spawn_argv(argv), clean_environment);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return false;
    close(steal_fd(&in));
    bool got = fgets(line, (int)size, out) != NULL;
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return got && status == 0;
}

/* --- between fork and exec: async-signal-safe calls only --- */

static void reset_signals(void)
{
    for (int number = 1; number < SIGRTMIN; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool place_fds(const struct postgres_process *process)
{
    int nothing = open("/dev/null", O_RDONLY);
    return nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
           dup2(process->log_fd, STDOUT_FILENO) >= 0 && dup2(process->log_fd, STDERR_FILENO) >= 0 &&
           dup2(process->data_fd, DATA_FD) >= 0 && dup2(process->run_fd, RUN_FD) >= 0 &&
           close_range(RUN_FD + 1, ~0U, 0) == 0;
}

static bool become(const struct postgres_owner *owner)
{
    return !owner->is_other ||
           (setgroups(0, NULL) == 0 && setresgid(owner->gid, owner->gid, owner->gid) == 0 &&
            setresuid(owner->uid, owner->uid, owner->uid) == 0);
}

__attribute__((noreturn)) static void run(const struct postgres_process *process, pid_t parent)
{
    static const char message[] = "cannot prepare the process\n";
    reset_signals();
    setsid(); /* a Ctrl-C on the terminal is for the node, which stops us in its time */
    umask(077);
    /* After the change of user, which would clear it. */
    if (place_fds(process) && become(&process->owner) && chdir("/") == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGINT) == 0 && getppid() == parent)
        execve(process->argv[0], spawn_argv(process->argv), clean_environment);
    (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
    _exit(127);
}

/* --- */

/* A copy out of the way of the numbers that place_fds() fills. */
static int high_fd(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, RUN_FD + 1);
}

bool process_start(const struct postgres_process *process, pid_t *pid, struct error *error)
{
    cleanup_fd int data_fd = high_fd(process->data_fd);
    cleanup_fd int run_fd = high_fd(process->run_fd);
    cleanup_fd int log_fd = high_fd(process->log_fd);
    if (data_fd < 0 || run_fd < 0 || log_fd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot start %s", process->argv[0]);
    const struct postgres_process high = {.argv = process->argv,
                                          .owner = process->owner,
                                          .data_fd = data_fd,
                                          .run_fd = run_fd,
                                          .log_fd = log_fd};
    pid_t parent = getpid();
    *pid = fork();
    if (*pid == 0)
        run(&high, parent);
    return *pid > 0 ||
           error_set_errno(error, ERROR_INTERNAL, errno, "cannot start %s", process->argv[0]);
}

bool process_is_gone(int pidfd, int timeout_ms)
{
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    int ready = 0;
    do
        ready = poll(&ended, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

bool process_stop(int pidfd, struct error *error)
{
    static const struct {
        int signal;
        int patience_ms;
    } steps[] = {{SIGINT, FAST_STOP_MS}, {SIGQUIT, IMMEDIATE_STOP_MS}, {SIGKILL, KILLED_MS}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (pidfd_send_signal(pidfd, steps[i].signal, NULL, 0) < 0 && errno != ESRCH)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot signal PostgreSQL");
        (void)pidfd_send_signal(pidfd, SIGCONT, NULL, 0); /* it may be a stopped one */
        if (process_is_gone(pidfd, steps[i].patience_ms))
            return true;
    }
    return error_set(error, ERROR_INTERNAL, "PostgreSQL does not stop");
}
