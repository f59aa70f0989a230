#include "store/convert/box.h"

#include "store/cleanup.h"
#include "store/convert/channel.h"
#include "store/convert/nursery.h"
#include "store/convert/passed_files.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

/* How late a cancel may be seen. */
enum { CANCEL_SLICE_MS = 100 };

/* What came of waiting for the process. */
enum patience { PATIENCE_PAID, PATIENCE_LOST, PATIENCE_CANCELLED };

struct box {
    const struct box_job *job;
    const atomic_bool *cancel;   /* NULL: nobody can; not owned */
    pid_t pid;                   /* -1 before the start, and when reaped */
    int pidfd;                   /* owned; readable when the process has ended */
    int input_fd;                /* owned; our end of the stream's socket, -1 when ended */
    int channel_fd;              /* owned; -1 once it is started */
    struct box_outcome *channel; /* owned mapping; the job's struct begins with it */
    size_t channel_size_bytes;
    unsigned deadline_seconds;
    int64_t patience_ms;    /* how much longer the process may keep us waiting */
    enum patience patience; /* unless PAID: why we killed it */
    int status;             /* as of waitpid(), when reaped */
};

/* Start */

/* A sealed piece of memory, and our mapping of it. */
static bool create_channel(struct box *box, struct error *error)
{
    const size_t size = box->channel_size_bytes;
    const char *name = box->job->name;
    cleanup_fd int fd = memfd_create("larder-box", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make the %s's memory", name);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot map the %s's memory", name);
    box->channel = memory;
    box->channel_fd = steal_fd(&fd);
    return true;
}

struct box *box_new(const struct box_job *job, size_t channel_size_bytes, unsigned deadline_seconds,
                    struct error *error)
{
    struct box *box = calloc(1, sizeof(*box));
    if (!box)
        abort();
    *box = (struct box){
        .job = job,
        .pid = -1,
        .pidfd = -1,
        .input_fd = -1,
        .channel_fd = -1,
        .channel_size_bytes = channel_size_bytes,
        .deadline_seconds = deadline_seconds,
        .patience_ms = (int64_t)deadline_seconds * 1000,
    };
    if (create_channel(box, error))
        return box;
    box_free(box);
    return NULL;
}

void box_set_cancel(struct box *box, const atomic_bool *cancel)
{
    box->cancel = cancel;
}

void *box_channel(const struct box *box)
{
    return box->channel;
}

bool box_start(struct box *box, int output_fd, struct error *error)
{
    const char *name = box->job->name;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make the %s's socket", name);
    box->input_fd = ends[0];
    cleanup_fd int input_fd = ends[1];
    cleanup_fd int channel_fd = steal_fd(&box->channel_fd);
    const int fds[NURSERY_FILES] = {input_fd, output_fd, channel_fd};
    if (!nursery_start(box->job->command, fds, &box->pid, error)) {
        box->pid = -1;
        return error_context(error, "cannot start the %s", name);
    }
    box->pidfd = pidfd_open(box->pid, 0);
    if (box->pidfd < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot watch the %s", name);
    return true;
}

/* Wait */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_cancelled(const struct box *box)
{
    return box->cancel && atomic_load_explicit(box->cancel, memory_order_relaxed);
}

/* Waits at most as long as the process may keep us waiting in all, and counts it;
 * the time that a registry takes is not the process's. */
static enum patience wait_for(struct box *box, int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    while (box->patience_ms > 0) {
        if (is_cancelled(box))
            return PATIENCE_CANCELLED;
        int64_t start = now_ms();
        int64_t longest = box->cancel ? CANCEL_SLICE_MS : INT32_MAX;
        int timeout = (int)(box->patience_ms > longest ? longest : box->patience_ms);
        int ready = poll(&poll_fd, 1, timeout);
        box->patience_ms -= now_ms() - start;
        if (ready > 0)
            return PATIENCE_PAID;
    }
    return PATIENCE_LOST;
}

/* What signal ends a process for what it did, and how; of others, NULL. */
static const char *own_doing(int signal)
{
    switch (signal) {
    case SIGSYS:
        return "it made a system call that it has no use for";
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGSEGV:
    case SIGTRAP:
        return "it crashed, or ran out of the memory that it may use";
    default:
        return NULL;
    }
}

/* After a crash, whether or not anybody asks for it: what was learned of it shall not help the
 * next. */
static void wait_and_reap(struct box *box)
{
    while (waitpid(box->pid, &box->status, 0) < 0 && errno == EINTR)
        ;
    box->pid = -1;
    if (WIFSIGNALED(box->status) && own_doing(WTERMSIG(box->status)))
        nursery_end();
}

static void kill_and_reap(struct box *box)
{
    if (box->pid < 0)
        return;
    kill(box->pid, SIGKILL);
    wait_and_reap(box);
}

static void reap(struct box *box)
{
    if (box->pid < 0)
        return;
    box->patience = wait_for(box, box->pidfd, POLLIN);
    if (box->patience == PATIENCE_PAID)
        wait_and_reap(box);
    else
        kill_and_reap(box);
}

static bool give_up(struct box *box, enum patience patience, struct error *error)
{
    box->patience = patience;
    kill_and_reap(box);
    return error_set(error, ERROR_PULL_FAILED, "the %s does not go on", box->job->name);
}

/* Sends some of the message, once the process takes it. */
static bool send_some(struct box *box, const struct msghdr *message, size_t *sent_bytes,
                      struct error *error)
{
    for (;;) {
        ssize_t sent = sendmsg(box->input_fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            *sent_bytes = (size_t)sent;
            return true;
        }
        if (errno == EAGAIN) {
            enum patience patience = wait_for(box, box->input_fd, POLLOUT);
            if (patience != PATIENCE_PAID)
                return give_up(box, patience, error);
        } else if (errno != EINTR) {
            const char *what = errno == EPIPE || errno == ECONNRESET ? "is gone" : "takes nothing";
            return error_set_errno(error, ERROR_PULL_FAILED, errno, "the %s %s", box->job->name,
                                   what);
        }
    }
}

bool box_write(struct box *box, const void *bytes, size_t size_bytes, struct error *error)
{
    struct iovec left = {(void *)(uintptr_t)bytes, size_bytes};
    const struct msghdr message = {.msg_iov = &left, .msg_iovlen = 1};
    while (left.iov_len > 0) {
        size_t sent = 0;
        if (!send_some(box, &message, &sent, error))
            return false;
        left.iov_base = (char *)left.iov_base + sent;
        left.iov_len -= sent;
    }
    return true;
}

/* A byte carries them: in a stream there is no message without one. */
static bool send_files(struct box *box, const int *fds, size_t count, struct error *error)
{
    char byte = 0;
    struct iovec bytes = {&byte, sizeof(byte)};
    union passed_files files;
    const struct msghdr message = passed_files_message(&files, &bytes, fds, count);
    size_t sent = 0;
    return send_some(box, &message, &sent, error);
}

bool box_send_files(struct box *box, const int *fds, size_t count, struct error *error)
{
    for (size_t done = 0; done < count;) {
        size_t next = count - done < PASSED_FILES_MAX ? count - done : PASSED_FILES_MAX;
        if (!send_files(box, fds + done, next, error))
            return false;
        done += next;
    }
    return true;
}

/* Judge */

/* What the bytes did to the process is told of them. A signal from outside (an OOM killer, an
 * operator) says nothing about them: the same again may well succeed. */
static bool explain_signal(const struct box *box, struct error *error)
{
    int signal = WTERMSIG(box->status);
    const char *name = sigabbrev_np(signal);
    const char *doing = own_doing(signal);
    if (signal == SIGXCPU)
        return error_set(error, box->job->failure,
                         "%s took more CPU time than the limit of %u seconds allows%s",
                         box->job->work, box->deadline_seconds, box->job->deadline_flag);
    return error_set(error, doing ? box->job->failure : ERROR_PULL_FAILED,
                     "the %s was killed by SIG%s: %s", box->job->name, name ? name : "?",
                     doing ? doing : "not by this node; the machine may be out of memory");
}

/* What a boxed process may say itself; anything else is the job's failure. */
static bool may_say(enum error_code code)
{
    return code == ERROR_DIGEST_MISMATCH || code == ERROR_LAYER_TOO_LARGE ||
           code == ERROR_PAYLOAD_TOO_LARGE || code == ERROR_STORAGE_FULL || code == ERROR_INTERNAL;
}

/* An error as the process may have it, without what could harm who reads it. */
static bool take_error(const struct box *box, struct error *error)
{
    struct error found = box->channel->error;
    found.message[sizeof(found.message) - 1] = '\0';
    for (char *character = found.message; *character; character++)
        if (*character < 0x20 || *character > 0x7e)
            *character = '?';
    error_set(error, may_say(found.code) ? found.code : box->job->failure, "%s", found.message);
    error->os_errno = found.os_errno;
    return false;
}

/* The process has ended: nothing changes the channel any more. */
static bool judge(const struct box *box, struct error *error)
{
    if (box->patience == PATIENCE_CANCELLED)
        return error_set(error, ERROR_PULL_CANCELLED, "the pull was cancelled");
    if (box->patience == PATIENCE_LOST)
        return error_set(error, box->job->failure, "%s took more than the limit of %u seconds%s",
                         box->job->work, box->deadline_seconds, box->job->deadline_flag);
    if (WIFSIGNALED(box->status))
        return explain_signal(box, error);
    if (WEXITSTATUS(box->status) == 0 && box->channel->verdict == BOX_SUCCEEDED)
        return true;
    if (WEXITSTATUS(box->status) == 0 && box->channel->verdict == BOX_FAILED)
        return take_error(box, error);
    return error_set(error, ERROR_INTERNAL, "the %s ended with status %d and no report",
                     box->job->name, WEXITSTATUS(box->status));
}

static void end_input(struct box *box)
{
    if (box->input_fd >= 0)
        close(steal_fd(&box->input_fd));
}

bool box_finish(struct box *box, struct error *error)
{
    end_input(box);
    reap(box);
    return judge(box, error);
}

void box_free(struct box *box)
{
    if (!box)
        return;
    end_input(box);
    kill_and_reap(box);
    if (box->pidfd >= 0)
        close(box->pidfd);
    if (box->channel_fd >= 0)
        close(box->channel_fd);
    if (box->channel)
        munmap(box->channel, box->channel_size_bytes);
    free(box);
}
