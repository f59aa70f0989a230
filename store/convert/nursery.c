#include "store/convert/nursery.h"

#include "store/cleanup.h"
#include "store/convert/channel.h"
#include "store/convert/passed_files.h"
#include "store/convert/sandbox.h"
#include "store/convert/sanitized.h"

#include <assert.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
    NURSERY_FD = BOX_CHANNEL_FD + 1, /* its socket, above what a boxed process has */
    ANSWER_SECONDS = 10,             /* to fork takes a millisecond */
    PASSED = NURSERY_FILES + 1,      /* and what a process waits for before it begins */
};

struct request {
    char command[8];
};

struct answer {
    pid_t child;  /* -1: none */
    int os_errno; /* why */
};

/* What the node knows of its nursery. */
static struct {
    pthread_mutex_t lock;
    pid_t pid; /* -1: none */
    int fd;    /* our end of its socket */
} nursery = {PTHREAD_MUTEX_INITIALIZER, -1, -1};

/* --- its start, by the node --- */

/* No file but the socket; what a boxed process says on stderr could only be read by people who
 * must not trust it. The sanitizers' reports are ours. Numbers below the socket's are taken, so
 * that what is passed lies above. */
static int describe_files(posix_spawn_file_actions_t *actions, int socket)
{
    int result = 0;
    for (int fd = 0; result == 0 && fd < NURSERY_FD; fd++)
        if (fd != STDERR_FILENO || !SANITIZED)
            result = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
    if (result == 0)
        result = posix_spawn_file_actions_adddup2(actions, socket, NURSERY_FD);
    if (result == 0)
        result = posix_spawn_file_actions_addclosefrom_np(actions, NURSERY_FD + 1);
    return result;
}

/* Default signals, none blocked, and a process group of its own: Ctrl-C on a
 * terminal is for the node, which drains. */
static int describe_signals(posix_spawnattr_t *attributes)
{
    sigset_t all;
    sigset_t none;
    sigfillset(&all);
    sigemptyset(&none);
    int result = posix_spawnattr_setsigdefault(attributes, &all);
    if (result == 0)
        result = posix_spawnattr_setsigmask(attributes, &none);
    if (result == 0)
        result = posix_spawnattr_setpgroup(attributes, 0);
    if (result == 0)
        result = posix_spawnattr_setflags(
            attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    return result;
}

/* Returns 0 or an errno. */
static int spawn(int socket, pid_t *pid)
{
    char program[] = "larder";
    char command[] = "nursery"; /* its room is that of a boxed process's command */
    static_assert(sizeof(command) == sizeof(((struct request *)NULL)->command));
    char *const arguments[] = {program, command, NULL};
    char bind_now[] = "LD_BIND_NOW=1"; /* here once, not in each process that is forked of it */
    char huge_pages[] = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"; /* see begin_heap_anew() */
    char *const environment[] = {bind_now, huge_pages, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);

    int result = describe_files(&actions, socket);
    if (result == 0)
        result = describe_signals(&attributes);
    if (result == 0)
        result = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, environment);

    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

static bool begin(struct error *error)
{
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make the nursery's socket");
    cleanup_fd int ours = ends[0];
    cleanup_fd int low = ends[1];
    cleanup_fd int theirs = fcntl(low, F_DUPFD_CLOEXEC, NURSERY_FD + 1);
    if (theirs < 0 || setsockopt(ours, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot set up the nursery's socket");
    int result = spawn(theirs, &nursery.pid);
    if (result != 0) {
        nursery.pid = -1;
        return error_set_errno(error, ERROR_INTERNAL, result, "cannot start the nursery");
    }
    nursery.fd = steal_fd(&ours);
    return true;
}

static void end(void)
{
    if (nursery.pid < 0)
        return;
    close(steal_fd(&nursery.fd));
    kill(nursery.pid, SIGKILL); /* it has nothing to finish, and may be stopped */
    /* With what is still of its group: a process that we do not know, which ends by itself. */
    while (waitpid(-nursery.pid, NULL, 0) > 0 || errno == EINTR)
        ;
    nursery.pid = -1;
}

/* --- what the node asks of it --- */

/* False when it is gone or does not answer. */
static bool ask(const char *command, const int fds[PASSED], struct answer *answer)
{
    struct request request = {0};
    union passed_files files;
    struct iovec bytes = {&request, sizeof(request)};
    memccpy(request.command, command, '\0', sizeof(request.command) - 1);
    const struct msghdr message = passed_files_message(&files, &bytes, fds, PASSED);
    ssize_t size;
    do
        size = sendmsg(nursery.fd, &message, MSG_NOSIGNAL);
    while (size < 0 && errno == EINTR);
    *answer = (struct answer){-1, errno};
    if (size < 0)
        return errno != EPIPE && errno != ECONNRESET;
    do /* One thread at a time asks, which takes a millisecond, or ANSWER_SECONDS. */
        size = recv(nursery.fd, answer, sizeof(*answer), 0); /* NOLINT(*InCriticalSection) */
    while (size < 0 && errno == EINTR);
    return size == sizeof(*answer);
}

/* A process that we do not know, since its nursery ended or hung before it told us, must not have
 * its files beside another: each waits for our byte, and ends with the pipe. One that begins is in
 * a group of its own. */
static bool ask_and_release(const char *command, const int fds[NURSERY_FILES],
                            struct answer *answer)
{
    int ends[2];
    *answer = (struct answer){-1, 0};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        answer->os_errno = errno;
        return true;
    }
    cleanup_fd int theirs = ends[0];
    cleanup_fd int ours = ends[1];
    const int passed[PASSED] = {fds[0], fds[1], fds[2], theirs};
    /* No SIGPIPE: we have the other end, too. */
    return ask(command, passed, answer) &&
           (answer->child < 0 ||
            (setpgid(answer->child, answer->child) == 0 && write(ours, "", 1) == 1));
}

static bool start(const char *command, const int fds[NURSERY_FILES], pid_t *child,
                  struct error *error)
{
    struct answer answer;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (nursery.pid < 0 && !begin(error))
            return false;
        if (ask_and_release(command, fds, &answer)) {
            *child = answer.child;
            return answer.child >= 0 || error_set_errno(error, ERROR_INTERNAL, answer.os_errno,
                                                        "cannot start a process");
        }
        end();
    }
    return error_set(error, ERROR_INTERNAL, "the nursery of processes does not answer");
}

bool nursery_start(const char *command, const int fds[NURSERY_FILES], pid_t *child,
                   struct error *error)
{
    pthread_mutex_lock(&nursery.lock);
    bool started = start(command, fds, child, error);
    pthread_mutex_unlock(&nursery.lock);
    return started;
}

void nursery_prepare(void)
{
    struct error error;
    pthread_mutex_lock(&nursery.lock);
    if (nursery.pid < 0)
        (void)begin(&error);
    pthread_mutex_unlock(&nursery.lock);
}

void nursery_end(void)
{
    pthread_mutex_lock(&nursery.lock);
    end();
    pthread_mutex_unlock(&nursery.lock);
}

/* --- the nursery itself --- */

/* fork(), but the child is our parent's. What libraries would do at a fork they need not: here is
 * one thread. libc takes the first thread's id to be ours then, and asks the kernel where it
 * matters (raise, abort). */
static pid_t fork_sibling(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
}

static void *volatile untouched; /* what begin_heap_anew() steps over, for the process's life */

/* A process takes nearly each page of its memory for the first time. In a virtual machine that may
 * be 10 us for 4 KiB, and was three quarters of what composing took; a huge page costs little more.
 * malloc() asks for those where it grows the heap by enough of them. What is left of the nursery's
 * heap has none: a block that is never touched reaches to where the next huge page begins. (A
 * sanitizer has a malloc() of its own.) */
static void begin_heap_anew(void)
{
    enum { HUGE_PAGE = 2 << 20, HEADER = 16 }; /* of a block */
    if (SANITIZED)
        return;
    (void)mallopt(M_TOP_PAD, 2 * HUGE_PAGE);
    (void)mallopt(M_MMAP_THRESHOLD, 16 * HUGE_PAGE); /* large buffers lie in the heap, too */
    size_t to_huge_page = -(uintptr_t)sbrk(0) & (HUGE_PAGE - 1);
    untouched = malloc(mallinfo2().keepcost + to_huge_page + HUGE_PAGE - HEADER);
}

static void become(char *name, const struct request *request, const int fds[PASSED])
{
    char byte;
    ssize_t size;
    begin_heap_anew();
    memcpy(name, request->command, sizeof(request->command)); /* for ps(1), too */
    close(NURSERY_FD); /* so that the node sees when the nursery ends */
    do
        size = read(fds[NURSERY_FILES], &byte, sizeof(byte));
    while (size < 0 && errno == EINTR);
    if (size != sizeof(byte) || dup2(fds[0], BOX_INPUT_FD) < 0 || dup2(fds[1], BOX_OUTPUT_FD) < 0 ||
        dup2(fds[2], BOX_CHANNEL_FD) < 0 || close_range(NURSERY_FD, ~0U, 0) != 0)
        _exit(1);
}

/* A composer gets as many files as an image has layers. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void nursery_main(char **argv)
{
    raise_file_limit();
    sandbox_load_libraries();
    for (;;) {
        struct request request;
        struct iovec bytes = {&request, sizeof(request)};
        int fds[PASSED];
        size_t count = 0;
        ssize_t size = passed_files_receive(NURSERY_FD, &bytes, fds, PASSED, &count);
        if (size == 0)
            exit(0);
        if (size != sizeof(request) || count != PASSED) {
            dprintf(STDERR_FILENO, "larder nursery: is started by larder itself\n");
            exit(2);
        }
        pid_t child = fork_sibling();
        if (child == 0) {
            become(argv[1], &request, fds);
            return;
        }
        const struct answer answer = {child, errno};
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        (void)send(NURSERY_FD, &answer, sizeof(answer), MSG_NOSIGNAL); /* no reader: no node */
    }
}
