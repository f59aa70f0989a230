/* `larder convert --probe=…`: the program's own test of its box. It boxes itself
 * in as for a blob and then does what must not be done. */
#include "store/convert/probe.h"

#include "store/convert/channel.h"
#include "store/convert/sandbox.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* Whom to signal and to trace: asked for while that is allowed. */
static pid_t parent;
static void *page;

/* Shows that a probe which comes back is seen. */
static void try_nothing(void)
{
}

static void try_open(void)
{
    cleanup_fd int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static void try_create(void)
{
    cleanup_fd int fd = open("/tmp/larder-probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static void try_unlink(void)
{
    (void)unlink("/tmp/larder-probe");
}

static void try_memfd(void)
{
    cleanup_fd int fd = memfd_create("larder-probe", MFD_CLOEXEC);
}

static void try_socket(void)
{
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void try_connect(void)
{
    struct sockaddr_in discard = {.sin_family = AF_INET, .sin_port = htons(9)};
    (void)connect(BOX_INPUT_FD, (struct sockaddr *)&discard, sizeof(discard));
}

static void try_fork(void)
{
    if (fork() == 0)
        _exit(0);
}

static void try_exec(void)
{
    char program[] = "/bin/true";
    char *const arguments[] = {program, NULL};
    char *const environment[] = {NULL};
    (void)execve(program, arguments, environment);
}

static void try_kill(void)
{
    (void)kill(parent, 0);
}

/* The one call that may signal, aimed at somebody else. */
static void try_tgkill(void)
{
    (void)tgkill(parent, parent, 0);
}

static void try_ptrace(void)
{
    (void)ptrace(PTRACE_ATTACH, parent, NULL, NULL);
}

static void try_peek(void)
{
    char byte;
    struct iovec here = {&byte, 1};
    struct iovec there = {page, 1};
    (void)process_vm_readv(parent, &here, 1, &there, 1, 0);
}

static void try_code(void)
{
    (void)mprotect(page, 1, PROT_READ | PROT_EXEC);
}

static void try_new_code(void)
{
    (void)mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void try_uring(void)
{
    struct io_uring_params parameters = {0};
    (void)syscall(SYS_io_uring_setup, 1, &parameters);
}

static void try_namespace(void)
{
    (void)unshare(CLONE_NEWUSER);
}

static const struct {
    const char *name;
    void (*attempt)(void);
} probes[] = {
    {"nothing", try_nothing}, {"open", try_open},           {"create", try_create},
    {"unlink", try_unlink},   {"memfd", try_memfd},         {"socket", try_socket},
    {"connect", try_connect}, {"fork", try_fork},           {"exec", try_exec},
    {"kill", try_kill},       {"tgkill", try_tgkill},       {"ptrace", try_ptrace},
    {"peek", try_peek},       {"code", try_code},           {"new-code", try_new_code},
    {"uring", try_uring},     {"namespace", try_namespace},
};

static int escape(void (*attempt)(void))
{
    const struct convert_limits limits = convert_limits_default(1 << 30);
    struct error error = {0};
    parent = getppid();
    page = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!sandbox_confine(&limits, &error) || !sandbox_seal(&error)) {
        dprintf(STDERR_FILENO, "larder convert: %s\n", error.message);
        return 2;
    }
    attempt();
    _exit(1); /* what runs at a usual exit is not allowed here either */
}

int convert_probe(const char *name)
{
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        if (strcmp(probes[i].name, name) == 0)
            return escape(probes[i].attempt);
    dprintf(STDERR_FILENO, "larder convert: there is no probe \"%s\"\n", name);
    return 2;
}
