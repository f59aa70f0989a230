/* The converter's box (store/convert/sandbox.h), by its own probes: what a process gives up, and
 * what it is killed for. */
#include "store/convert.h"
#include "store/convert/sanitized.h"

#include <criterion/criterion.h>
#include <grp.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
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

/* What `larder convert --probe=confined` says, of a process that `begin` made what it was. */
static const char *told_confinement(bool (*begin)(void))
{
    static char text[1024];
    char *const environment[] = {NULL};
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        if (begin())
            execle("/proc/self/exe", "larder", "convert", "--probe=confined", (char *)NULL,
                   environment);
        _exit(127);
    }
    close(ends[1]);
    ssize_t size = read(ends[0], text, sizeof(text) - 1);
    cr_assert_gt(size, 0);
    text[size] = '\0';
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

/* Who leaves uid 0 then keeps its capabilities: only capset() drops them. */
static bool keep_capabilities(void)
{
    return prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0;
}

static bool join_groups(void)
{
    const gid_t groups[] = {4, 5};
    return setgroups(sizeof(groups) / sizeof(groups[0]), groups) == 0;
}

static bool stay(void)
{
    return true;
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/* The filter alone would end who opens a file or connects: these are what holds should it have a
 * hole, and what bounds a process that stays within it. */
Test(box, a_process_gives_up_what_it_has_before_its_box_is_closed)
{
    const char *text = told_confinement(stay);
    const struct convert_limits limits = convert_limits_default(1 << 30);
    cr_expect_eq(told(text, "no_new_privileges "), 1);
    cr_expect_eq(told(text, "is_dumpable "), 0);
    cr_expect_eq(told(text, "capabilities "), 0);
    cr_expect_eq(told(text, "own_network "), child_can(leave_namespaces));
    cr_expect_eq(told(text, "own_mounts "), child_can(leave_namespaces));
    cr_expect_eq(told(text, "own_ipc "), child_can(leave_namespaces));
    cr_expect_eq(told(text, "own_hostname "), child_can(leave_namespaces));
    cr_expect_eq(told(text, "may_read_files "), !child_can(has_landlock));
    cr_expect_eq(told(text, "core_bytes "), 0);
    cr_expect_gt(told(text, "file_bytes "), limits.max_output_bytes);
    cr_expect_leq(told(text, "file_bytes "), limits.max_output_bytes + (64 << 20));
    cr_expect_eq(told(text, "processor_seconds "),
                 (uint64_t)CONVERT_THREADS * limits.deadline_seconds);
#if !SANITIZED
    cr_expect_eq(told(text, "memory_bytes "), limits.max_memory_bytes);
#endif
}

/* Each by itself: for root one often comes with the other. */
Test(box, a_root_process_gives_up_its_user_its_groups_and_its_capabilities)
{
    if (!child_can(become_nobody) || !child_can(join_groups) || !child_can(keep_capabilities))
        cr_skip("needs root");
    const char *text = told_confinement(join_groups);
    cr_expect_eq(told(text, "user "), 65534);
    cr_expect_eq(told(text, "group "), 65534);
    cr_expect_eq(told(text, "groups "), 0);
    text = told_confinement(keep_capabilities);
    cr_expect_eq(told(text, "user "), 65534);
    cr_expect_eq(told(text, "capabilities "), 0, "they do not go with the user");
}

/* Who changes its user is undumpable without a word. */
Test(box, a_process_that_is_not_root_gives_up_as_much)
{
    const char *text = told_confinement(geteuid() == 0 ? become_nobody : stay);
    cr_expect_eq(told(text, "is_dumpable "), 0);
    cr_expect_eq(told(text, "no_new_privileges "), 1);
    cr_expect_eq(told(text, "capabilities "), 0, "nor those of a user namespace of its own");
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
