/* `larder convert --probe=…`: the program's own test of its box. It boxes itself
 * in as for a blob and then does what must not be done. */
#include "store/convert/probe.h"

#include "store/convert/channel.h"
#include "store/convert/sandbox.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

/* --- what is given up --- */

static ino_t number_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? status.st_ino : 0;
}

static unsigned count_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {0};
    unsigned count = 0;
    if (syscall(SYS_capget, &header, sets) != 0)
        return UINT_MAX;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        count += (unsigned)__builtin_popcount(sets[i].effective | sets[i].permitted |
                                              sets[i].inheritable);
    return count;
}

static bool may_read_files(void)
{
    cleanup_fd int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    return fd >= 0;
}

static unsigned long long limit_of(int resource)
{
    struct rlimit value = {0};
    (void)getrlimit((__rlimit_resource_t)resource, &value);
    return value.rlim_cur;
}

static int tell_confinement(void)
{
    const struct convert_limits limits = convert_limits_default(1 << 30);
    const ino_t network = number_of("/proc/self/ns/net"), mounts = number_of("/proc/self/ns/mnt");
    const ino_t ipc = number_of("/proc/self/ns/ipc"), hostname = number_of("/proc/self/ns/uts");
    struct error error = {0};
    if (!sandbox_confine(&limits, &error)) {
        dprintf(STDERR_FILENO, "larder convert: %s\n", error.message);
        return 2;
    }
    dprintf(STDOUT_FILENO,
            "no_new_privileges %d\nis_dumpable %d\nuser %u\ngroup %u\ngroups %d\n"
            "capabilities %u\nown_network %d\nown_mounts %d\nown_ipc %d\nown_hostname %d\n"
            "may_read_files %d\ncore_bytes %llu\nmemory_bytes %llu\nfile_bytes %llu\n"
            "processor_seconds %llu\n",
            prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), geteuid(),
            getegid(), getgroups(0, NULL), count_capabilities(),
            number_of("/proc/self/ns/net") != network, number_of("/proc/self/ns/mnt") != mounts,
            number_of("/proc/self/ns/ipc") != ipc, number_of("/proc/self/ns/uts") != hostname,
            may_read_files(), limit_of(RLIMIT_CORE), limit_of(RLIMIT_AS), limit_of(RLIMIT_FSIZE),
            limit_of(RLIMIT_CPU));
    _exit(0);
}

int convert_probe(const char *name)
{
    if (strcmp(name, "confined") == 0)
        return tell_confinement();
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
        if (strcmp(probes[i].name, name) == 0)
            return escape(probes[i].attempt);
    dprintf(STDERR_FILENO, "larder convert: there is no probe \"%s\"\n", name);
    return 2;
}
