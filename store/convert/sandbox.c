#include "store/convert/sandbox.h"

#include "store/convert/sanitized.h"

#include <grp.h>
#include <iconv.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>

enum {
    NOBODY = 65534,
    /* Above the layer's own limit, which fails with a better message. */
    FILE_SIZE_MARGIN = 64 << 20,
};

/* Libraries */

/* libcrypto opens its configuration, iconv (libarchive's, for PAX names in the C locale) its
 * modules. */
void sandbox_load_libraries(void)
{
    digest_state_free(digest_state_new());
    iconv_t conversion = iconv_open("ANSI_X3.4-1968", "UTF-8");
    if (conversion != (iconv_t)-1)
        iconv_close(conversion);
}

/* Privileges */

/* Best with the privileges that we are about to drop; otherwise through a user
 * namespace, where the machine allows those. A refusal leaves the filter. */
static void leave_namespaces(void)
{
    const int namespaces = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    if (unshare(namespaces) != 0 && geteuid() != 0)
        (void)unshare(CLONE_NEWUSER | namespaces);
}

/* A root without CAP_SETUID (of a container) gets EPERM: it has little to drop,
 * and drop_capabilities() takes that. */
static bool drop_user(struct error *error)
{
    if (geteuid() != 0)
        return true;
    bool dropped = setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 &&
                   setresuid(NOBODY, NOBODY, NOBODY) == 0;
    if (dropped || errno == EPERM)
        return true;
    return error_set_errno(error, ERROR_INTERNAL, errno, "cannot become an unprivileged user");
}

static bool drop_capabilities(struct error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capset, &header, none) == 0)
        return true;
    return error_set_errno(error, ERROR_INTERNAL, errno, "cannot drop capabilities");
}

/* A ruleset that handles every right and grants none. Kernels before 5.13 have no
 * Landlock, and some are built without. */
static void forbid_files(void)
{
    const struct landlock_ruleset_attr all = {
        .handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                             LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                             LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                             LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                             LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                             LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                             LANDLOCK_ACCESS_FS_MAKE_SYM,
    };
    cleanup_fd int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
    if (ruleset >= 0)
        (void)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

/* Limits */

static bool limit(int resource, rlim_t soft, rlim_t hard, const char *what, struct error *error)
{
    const struct rlimit value = {soft, hard};
    if (setrlimit((__rlimit_resource_t)resource, &value) == 0)
        return true;
    return error_set_errno(error, ERROR_INTERNAL, errno, "cannot limit %s", what);
}

static bool limit_resources(const struct convert_limits *limits, struct error *error)
{
    /* The sanitizers reserve terabytes of address space. */
    rlim_t memory = SANITIZED ? RLIM_INFINITY : limits->max_memory_bytes;
    rlim_t file_size = limits->max_output_bytes + FILE_SIZE_MARGIN;
    /* The deadline is of waiting, in which each thread may have a core. */
    rlim_t seconds = (rlim_t)CONVERT_THREADS * limits->deadline_seconds;

    signal(SIGXFSZ, SIG_IGN); /* EFBIG says it better */
    return limit(RLIMIT_CORE, 0, 0, "core files", error) &&
           limit(RLIMIT_AS, memory, memory, "memory", error) &&
           limit(RLIMIT_FSIZE, file_size, file_size, "file size", error) &&
           limit(RLIMIT_CPU, seconds, seconds + 1, "CPU time", error);
}

bool sandbox_confine(const struct convert_limits *limits, struct error *error)
{
    sandbox_load_libraries();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot give up new privileges");
    leave_namespaces();
    if (!drop_user(error) || !drop_capabilities(error))
        return false;
    forbid_files();
    /* Not to be traced by another process of the same unprivileged user. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot become undumpable");
    return limit_resources(limits, error);
}

/* Filter */

/* Open files and memory, and what threads need to wait, to end and to abort. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pwritev),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(ftruncate),
    SCMP_SYS(sync_file_range),
    SCMP_SYS(fdatasync),
    SCMP_SYS(close),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(getrandom),
    SCMP_SYS(sysinfo), /* qsort's, to size its buffer */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
#if SANITIZED
    /* Alternate stacks, a thread of their own with its own clock, and reports. */
    SCMP_SYS(sigaltstack),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
#endif
};

static int allow_calls(scmp_filter_ctx filter)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < sizeof(allowed) / sizeof(allowed[0]); i++)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    /* Memory, but never code; signals, but only to ourselves (abort). */
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (result == 0)
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
    return result;
}

bool sandbox_seal(struct error *error)
{
    /* With all threads there: none can be added, and no file be opened. */
    if (!limit(RLIMIT_NPROC, 0, 0, "processes", error) ||
        !limit(RLIMIT_NOFILE, 0, 0, "open files", error))
        return false;

    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return error_set(error, ERROR_INTERNAL, "cannot make a seccomp filter");
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == 0)
        result = allow_calls(filter);
    if (result == 0)
        result = seccomp_load(filter);
    seccomp_release(filter);
    if (result != 0)
        return error_set_errno(error, ERROR_INTERNAL, -result, "cannot load the seccomp filter");
    return true;
}
