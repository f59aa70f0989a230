/* The converter's box (store/convert/sandbox.h), by its own probes: what a process gives up, and
 * what it is killed for. */
#include "store/convert.h"
#include "store/convert/sanitized.h"

#include <criterion/criterion.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs this program as `larder convert --probe=name`; returns its wait status. */
static int probe(char *flag)
{
    char program[] = "larder";
    char command[] = "convert";
    char *const arguments[] = {program, command, flag, NULL};
    char *const environment[] = {NULL};
    pid_t pid;
    cr_assert_eq(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environment), 0);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* What `larder convert --probe=confined` says. */
static const char *told_confinement(void)
{
    static char text[1024];
    char *const environment[] = {NULL};
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execle("/proc/self/exe", "larder", "convert", "--probe=confined", (char *)NULL,
               environment);
        _exit(127);
    }
    close(ends[1]);
    ssize_t size = read(ends[0], text, sizeof(text) - 1);
    cr_assert_gt(size, 0);
    close(ends[0]);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    return text;
}

static uint64_t told(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    cr_assert(at, "%s is not told: %s", name, text);
    return strtoull(at + strlen(name), NULL, 10);
}

/* Whether this machine lets a process of ours do that. */
static bool child_can(bool (*attempt)(void))
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(attempt() ? 0 : 1);
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status == 0;
}

static bool leave_namespaces(void)
{
    const int namespaces = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    return unshare(namespaces) == 0 || (geteuid() != 0 && unshare(CLONE_NEWUSER | namespaces) == 0);
}

static bool become_nobody(void)
{
    return setresuid(65534, 65534, 65534) == 0;
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/* The filter alone would end who opens a file or connects: these are what holds should it have a
 * hole, and what bounds a process that stays within it. */
Test(box, a_process_gives_up_what_it_has_before_its_box_is_closed)
{
    const char *text = told_confinement();
    const struct convert_limits limits = convert_limits_default(1 << 30);
    cr_expect_eq(told(text, "no_new_privileges "), 1);
    cr_expect_eq(told(text, "is_dumpable "), 0);
    cr_expect_eq(told(text, "capabilities "), 0);
    cr_expect_eq(told(text, "own_network "), child_can(leave_namespaces));
    cr_expect_eq(told(text, "own_mounts "), child_can(leave_namespaces));
    cr_expect_eq(told(text, "may_read_files "), !child_can(has_landlock));
    cr_expect_eq(told(text, "core_bytes "), 0);
    cr_expect_gt(told(text, "file_bytes "), limits.max_output_bytes);
    cr_expect_leq(told(text, "file_bytes "), limits.max_output_bytes + (64 << 20));
    cr_expect_eq(told(text, "processor_seconds "),
                 (uint64_t)CONVERT_THREADS * limits.deadline_seconds);
#if !SANITIZED
    cr_expect_eq(told(text, "memory_bytes "), limits.max_memory_bytes);
#endif
    if (geteuid() == 0 && child_can(become_nobody))
        cr_expect_eq(told(text, "user "), 65534);
}

Test(box, a_process_that_leaves_its_box_is_killed)
{
    char flags[][32] = {
        "--probe=open",   "--probe=create",   "--probe=unlink", "--probe=memfd",
        "--probe=socket", "--probe=connect",  "--probe=fork",   "--probe=exec",
        "--probe=kill",   "--probe=tgkill",   "--probe=ptrace", "--probe=peek",
        "--probe=code",   "--probe=new-code", "--probe=uring",  "--probe=namespace",
    };
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        int status = probe(flags[i]);
        cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
                  "%s ends with SIGSYS, not with status %x", flags[i], (unsigned)status);
    }
    char nothing[] = "--probe=nothing";
    int status = probe(nothing);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "who stays in it is not killed");
    char unknown[] = "--probe=unknown";
    status = probe(unknown);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 2, "an unknown probe is said");
}
