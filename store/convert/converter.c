/* The node's side of the converter process: start, feed, wait, judge. */
#include "store/convert.h"
#include "store/convert/channel.h"
#include "store/convert/sanitized.h"
#include "store/erofs/format.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

struct converter {
    pid_t pid;                       /* -1 when reaped */
    int pidfd;                       /* owned; readable when the process has ended */
    int input_fd;                    /* owned; our end of the blob's socket, -1 when ended */
    struct convert_channel *channel; /* owned mapping */
    struct convert_limits limits;
    int64_t patience_ms; /* how much longer the process may keep us waiting */
    bool timed_out;
    int status; /* as of waitpid(), when reaped */
};

struct convert_limits convert_limits_default(uint64_t max_layer_bytes)
{
    /* Files of a few bytes take 1 KiB of tar: this is a layer of 2 GiB of them. */
    const uint64_t max_entries = 1 << 21;
    /* Per entry: its inode, name, extents and place in a directory. The rest holds
     * the largest zstd window, rings, stacks and libraries. */
    const uint64_t entry_bytes = 512;
    const uint64_t base_bytes = 512 << 20;
    /* The slowest disk that is worth waiting for. */
    const uint64_t bytes_per_second = 20 << 20;
    const uint64_t most_seconds = 7 * 24 * 3600;
    const uint64_t seconds = 300 + max_layer_bytes / bytes_per_second;
    return (struct convert_limits){
        .max_tar_bytes = max_layer_bytes,
        /* The last block of each file or directory; a tar's headers pay for the rest. */
        .max_output_bytes = max_layer_bytes + max_entries * EROFS_BLOCK_SIZE,
        .max_entries = max_entries,
        .max_memory_bytes = base_bytes + max_entries * entry_bytes,
        .deadline_seconds = (unsigned)(seconds < most_seconds ? seconds : most_seconds),
    };
}

/* Start */

/* A sealed piece of memory; *channel is our mapping of it. */
static int create_channel(struct convert_channel **channel, struct error *error)
{
    cleanup_fd int fd = memfd_create("larder-convert", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, sizeof(**channel)) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        error_set_errno(error, ERROR_INTERNAL, errno, "cannot make the converter's memory");
        return -1;
    }
    void *memory = mmap(NULL, sizeof(**channel), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        error_set_errno(error, ERROR_INTERNAL, errno, "cannot map the converter's memory");
        return -1;
    }
    *channel = memory;
    return steal_fd(&fd);
}

/* Moves the descriptor, if need be, above those that the process will have. */
static bool raise_fd(int fd, int *raised, struct error *error)
{
    *raised = fcntl(fd, F_DUPFD_CLOEXEC, CONVERT_CHANNEL_FD + 1);
    if (*raised >= 0)
        return true;
    return error_set_errno(error, ERROR_INTERNAL, errno, "cannot duplicate a descriptor");
}

/* The process gets its three files and nothing else: what it says on stderr could
 * only be read by people who must not trust it. The sanitizers' reports are ours. */
static int describe_files(posix_spawn_file_actions_t *actions, int input_fd, int output_fd,
                          int channel_fd)
{
    int result = posix_spawn_file_actions_adddup2(actions, input_fd, CONVERT_INPUT_FD);
    if (result == 0)
        result = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (result == 0 && !SANITIZED)
        result = posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (result == 0)
        result = posix_spawn_file_actions_adddup2(actions, output_fd, CONVERT_OUTPUT_FD);
    if (result == 0)
        result = posix_spawn_file_actions_adddup2(actions, channel_fd, CONVERT_CHANNEL_FD);
    if (result == 0)
        result = posix_spawn_file_actions_addclosefrom_np(actions, CONVERT_CHANNEL_FD + 1);
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
static int spawn(pid_t *pid, int input_fd, int output_fd, int channel_fd)
{
    char program[] = "larder";
    char command[] = "convert";
    char *const arguments[] = {program, command, NULL};
    char *const environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);

    int result = describe_files(&actions, input_fd, output_fd, channel_fd);
    if (result == 0)
        result = describe_signals(&attributes);
    if (result == 0)
        result = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, environment);

    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

/* Starts the process with its end of a new socket; ours goes to *converter. */
static bool start_process(struct converter *converter, int output_fd, int channel_fd,
                          struct error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make the converter's socket");
    converter->input_fd = ends[0];
    cleanup_fd int process_end = ends[1];
    cleanup_fd int input = -1;
    cleanup_fd int output = -1;
    cleanup_fd int channel = -1;
    if (!raise_fd(process_end, &input, error) || !raise_fd(output_fd, &output, error) ||
        !raise_fd(channel_fd, &channel, error))
        return false;

    int result = spawn(&converter->pid, input, output, channel);
    if (result != 0) {
        converter->pid = -1;
        return error_set_errno(error, ERROR_INTERNAL, result, "cannot start the converter");
    }
    converter->pidfd = pidfd_open(converter->pid, 0);
    if (converter->pidfd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot watch the converter");
    return true;
}

struct converter *converter_start(const struct convert_request *request, int output_fd,
                                  struct error *error)
{
    struct converter *converter = calloc(1, sizeof(*converter));
    if (!converter)
        abort();
    *converter = (struct converter){
        .pid = -1,
        .pidfd = -1,
        .input_fd = -1,
        .limits = request->limits,
        .patience_ms = (int64_t)request->limits.deadline_seconds * 1000,
    };
    cleanup_fd int channel_fd = create_channel(&converter->channel, error);
    if (channel_fd >= 0) {
        converter->channel->request = *request;
        if (start_process(converter, output_fd, channel_fd, error))
            return converter;
    }
    converter_free(converter);
    return NULL;
}

/* Wait */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits at most as long as the process may keep us waiting in all, and counts it;
 * the time that a registry takes is not the converter's. False when it ran out. */
static bool wait_for(struct converter *converter, int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    while (converter->patience_ms > 0) {
        int64_t start = now_ms();
        int timeout = converter->patience_ms > INT32_MAX ? INT32_MAX : (int)converter->patience_ms;
        int ready = poll(&poll_fd, 1, timeout);
        converter->patience_ms -= now_ms() - start;
        if (ready > 0)
            return true;
    }
    return false;
}

static void kill_and_reap(struct converter *converter)
{
    if (converter->pid < 0)
        return;
    kill(converter->pid, SIGKILL);
    while (waitpid(converter->pid, &converter->status, 0) < 0 && errno == EINTR)
        ;
    converter->pid = -1;
}

static void reap(struct converter *converter)
{
    if (converter->pid < 0)
        return;
    if (!wait_for(converter, converter->pidfd, POLLIN)) {
        converter->timed_out = true;
        kill_and_reap(converter);
        return;
    }
    while (waitpid(converter->pid, &converter->status, 0) < 0 && errno == EINTR)
        ;
    converter->pid = -1;
}

bool converter_write(struct converter *converter, const void *bytes, size_t size_bytes,
                     struct error *error)
{
    const uint8_t *next = bytes;
    size_t left = size_bytes;
    while (left > 0) {
        ssize_t sent = send(converter->input_fd, next, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            next += sent;
            left -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (wait_for(converter, converter->input_fd, POLLOUT))
                continue;
            converter->timed_out = true;
            kill_and_reap(converter);
            return error_set(error, ERROR_PULL_FAILED, "the converter does not go on");
        } else if (errno != EINTR) {
            return error_set_errno(error, ERROR_PULL_FAILED, errno, "the converter is gone");
        }
    }
    return true;
}

uint64_t converter_tar_bytes(const struct converter *converter)
{
    return atomic_load_explicit(&converter->channel->tar_bytes, memory_order_relaxed);
}

/* Judge */

static bool explain_signal(const struct converter *converter, struct error *error)
{
    int number = WTERMSIG(converter->status);
    const char *name = sigabbrev_np(number);
    const char *meaning = "";
    if (number == SIGSYS)
        meaning = ": it made a system call that it has no use for";
    else if (number == SIGABRT || number == SIGSEGV || number == SIGBUS)
        meaning = ": it crashed, or ran out of the memory that a layer may use";
    else if (number == SIGKILL)
        meaning = ": the machine may be out of memory";
    if (number == SIGXCPU)
        return error_set(error, ERROR_UNSUPPORTED_LAYER,
                         "converting the layer took more than the limit of %u CPU seconds",
                         converter->limits.deadline_seconds);
    return error_set(error, ERROR_UNSUPPORTED_LAYER, "the converter was killed by SIG%s%s",
                     name ? name : "?", meaning);
}

/* An error as the process may have it, without what could harm who reads it. */
static bool take_error(struct error *found, struct error *error)
{
    found->message[sizeof(found->message) - 1] = '\0';
    for (char *character = found->message; *character; character++)
        if (*character < 0x20 || *character > 0x7e)
            *character = '?';
    bool known = found->code == ERROR_DIGEST_MISMATCH || found->code == ERROR_LAYER_TOO_LARGE ||
                 found->code == ERROR_STORAGE_FULL || found->code == ERROR_INTERNAL;
    error_set(error, known ? found->code : ERROR_UNSUPPORTED_LAYER, "%s", found->message);
    error->os_errno = found->os_errno;
    return false;
}

/* The process has ended: nothing changes the channel any more. */
static bool judge(const struct converter *converter, struct convert_report *report,
                  struct error *error)
{
    if (converter->timed_out)
        return error_set(error, ERROR_UNSUPPORTED_LAYER,
                         "converting the layer took more than the limit of %u seconds",
                         converter->limits.deadline_seconds);
    if (WIFSIGNALED(converter->status))
        return explain_signal(converter, error);
    if (WEXITSTATUS(converter->status) == 0 && converter->channel->verdict == CONVERT_SUCCEEDED) {
        *report = converter->channel->report;
        return true;
    }
    if (WEXITSTATUS(converter->status) == 0 && converter->channel->verdict == CONVERT_FAILED) {
        struct error found = converter->channel->error;
        return take_error(&found, error);
    }
    return error_set(error, ERROR_INTERNAL, "the converter ended with status %d and no report",
                     WEXITSTATUS(converter->status));
}

static void end_input(struct converter *converter)
{
    if (converter->input_fd >= 0)
        close(steal_fd(&converter->input_fd));
}

bool converter_finish(struct converter *converter, struct convert_report *report,
                      struct error *error)
{
    end_input(converter);
    reap(converter);
    return judge(converter, report, error);
}

void converter_free(struct converter *converter)
{
    if (!converter)
        return;
    end_input(converter);
    kill_and_reap(converter);
    if (converter->pidfd >= 0)
        close(converter->pidfd);
    if (converter->channel)
        munmap(converter->channel, sizeof(*converter->channel));
    free(converter);
}
