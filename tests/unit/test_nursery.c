/* The nursery (store/convert/nursery.h): what a process that it forks has and is, and what becomes
 * of one when the other ends. */
#include "boxes.h"

#include "store/cleanup.h"
#include "store/convert/channel.h"
#include "store/convert/nursery.h"
#include "store/convert/sanitized.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a process tells of itself, in the memory that it is given as its channel. */
struct told {
    char fds[64]; /* the numbers of its open files */
    char argument[16];
    pid_t parent, group;
    const void *code, *stack, *heap;
    bool heap_wants_huge_pages;
    char input[16]; /* all that it read */
};

int told_process_main(void); /* main.c calls it for `larder tell` */

static void tell_fds(struct told *told)
{
    for (int fd = 0; fd < 1024; fd++) {
        size_t used = strlen(told->fds);
        if (fcntl(fd, F_GETFD) >= 0)
            snprintf(told->fds + used, sizeof(told->fds) - used, "%d ", fd);
    }
}

/* proc_pid_smaps(5): "hg" among the VmFlags of its mapping. */
static bool wants_huge_pages(const void *address)
{
    cleanup_file FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool is_its = false;
    while (maps && fgets(line, sizeof(line), maps)) {
        char *end = NULL;
        uintptr_t begin = strtoul(line, &end, 16);
        if (*end == '-')
            is_its = (uintptr_t)address >= begin && (uintptr_t)address < strtoul(end + 1, NULL, 16);
        if (is_its && strncmp(line, "VmFlags:", 8) == 0)
            return strstr(line, " hg") != NULL;
    }
    return false;
}

/* Whether the kernel gives huge pages to those who ask, and to no others. */
static bool kernel_has_them_on_demand(void)
{
    cleanup_file FILE *mode = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    char words[64];
    return mode && fgets(words, sizeof(words), mode) && strstr(words, "[madvise]");
}

/* Reads its input to the end. "abort" in it: aborts. Else writes it to its output. */
int told_process_main(void)
{
    struct told *told =
        mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED, BOX_CHANNEL_FD, 0);
    if (told == MAP_FAILED)
        return 3;
    tell_fds(told);
    cleanup_fd int command = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    char words[32] = "";
    if (read(command, words, sizeof(words) - 1) > 0)
        snprintf(told->argument, sizeof(told->argument), "%s", words + strlen(words) + 1);
    told->parent = getppid();
    told->group = getpgrp();
    told->code = (const void *)(uintptr_t)told_process_main;
    told->stack = &told;
    told->heap = malloc(64 << 10); /* more than is left of what the nursery freed */
    told->heap_wants_huge_pages = wants_huge_pages((const char *)told->heap + (32 << 10));
    size_t size = 0;
    while (read(BOX_INPUT_FD, told->input + size, 1) > 0)
        size++;
    if (strcmp(told->input, "abort") == 0)
        abort();
    _exit(write(BOX_OUTPUT_FD, told->input, size) == (ssize_t)size ? 0 : 4);
}

struct process {
    pid_t pid;
    int input, output; /* our ends */
    struct told *told;
};

static struct process start(void)
{
    int in[2];
    int out[2];
    cleanup_fd int channel = memfd_create("channel", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(channel, sizeof(struct told)), 0);
    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    struct process process = {.input = in[1], .output = out[0]};
    process.told = mmap(NULL, sizeof(struct told), PROT_READ | PROT_WRITE, MAP_SHARED, channel, 0);
    const int fds[NURSERY_FILES] = {in[0], out[1], channel};
    struct error error;
    cr_assert(nursery_start("tell", fds, &process.pid, &error), "%s", error.message);
    close(in[0]);
    close(out[1]);
    return process;
}

/* Its status, when it was given that. */
static int finish(struct process *process, const char *input)
{
    cr_assert_eq(write(process->input, input, strlen(input)), (ssize_t)strlen(input));
    close(process->input);
    int status = -1;
    cr_assert_eq(waitpid(process->pid, &status, 0), process->pid, "it is our own child");
    return status;
}

static void expect_done(struct process *process)
{
    char answer[8] = "";
    cr_expect_eq(finish(process, "hello"), 0);
    cr_expect_eq(read(process->output, answer, sizeof(answer) - 1), 5);
    cr_expect_str_eq(answer, "hello");
    cr_expect_eq(read(process->output, answer, 1), 0, "nobody else has it");
    close(process->output);
}

Test(nursery, starts_a_process_with_its_files_and_no_other)
{
    struct process first = start();
    struct process process = start();
    expect_done(&first);
    expect_done(&process); /* its input ends though another process was there */
    const struct told *told = process.told;
    cr_expect_str_eq(told->fds, "0 1 2 3 4 ");
    cr_expect_str_eq(told->argument, "tell");
    cr_expect_eq(told->parent, getpid());
    cr_expect_eq(told->group, process.pid, "a signal of the terminal does not reach it");
    boxes_expect_none();
}

Test(nursery, the_heap_of_a_process_begins_with_a_huge_page)
{
    if (SANITIZED)
        cr_skip("malloc() is the sanitizer's");
    enum { HUGE_PAGE = 2 << 20, PAGE = 4096 };
    struct process process = start();
    expect_done(&process);
    uintptr_t begin = (uintptr_t)process.told->heap;
    cr_expect_lt((begin + PAGE) % HUGE_PAGE, 2 * PAGE, "%p", process.told->heap);
    if (kernel_has_them_on_demand())
        cr_expect(process.told->heap_wants_huge_pages);
}

/* libc knows another id of its thread. */
Test(nursery, a_process_that_aborts_ends_by_that_signal)
{
    struct process process = start();
    pid_t nursery = boxes_nursery();
    int status = finish(&process, "abort");
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x", (unsigned)status);
    cr_expect_eq(boxes_nursery(), nursery, "and no other");
}

Test(nursery, that_ends_does_nothing_to_its_processes_and_another_takes_its_place)
{
    struct process before = start();
    nursery_end();
    struct process after = start();
    expect_done(&before);
    expect_done(&after);
#if !SANITIZED /* which lay out memory themselves */
    cr_expect_neq(before.told->code, after.told->code, "another place for code");
    cr_expect_neq(before.told->stack, after.told->stack, "another place for stacks");
#endif
    boxes_expect_none();
}

Test(nursery, that_was_killed_or_stopped_is_replaced)
{
    static const int signals[] = {SIGKILL, SIGSTOP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        nursery_prepare();
        cr_assert_eq(kill(boxes_nursery(), signals[i]), 0);
        struct process process = start();
        expect_done(&process);
    }
    boxes_expect_none();
}

struct death {
    pid_t pid;
    struct timespec in;
};

static void *bring_death(void *context)
{
    const struct death *death = context;
    nanosleep(&death->in, NULL);
    kill(death->pid, SIGKILL);
    return NULL;
}

/* Before it has the request, while it forks, or before it tells: one process has the files, and
 * what it is given reaches no other. */
Test(nursery, that_dies_at_any_moment_of_a_start_is_replaced)
{
    for (long i = 0; i < 60; i++) {
        pthread_t thread;
        nursery_end();                   /* the last one died */
        struct process before = start(); /* so that it is ready to fork */
        expect_done(&before);
        munmap(before.told, sizeof(struct told));
        struct death death = {boxes_nursery(), {.tv_nsec = i * 20000}};
        cr_assert_eq(pthread_create(&thread, NULL, bring_death, &death), 0);
        struct process process = start();
        pthread_join(thread, NULL);
        expect_done(&process);
        munmap(process.told, sizeof(struct told));
    }
    boxes_expect_none();
}

Test(nursery, ends_with_its_node_however_that_ends)
{
    cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t node = fork();
    if (node == 0) {
        nursery_prepare();
        struct process process = start();
        finish(&process, "");
        raise(SIGKILL);
    }
    int status = 0;
    cr_assert_eq(waitpid(node, &status, 0), node);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_expect_gt(waitpid(-1, &status, 0), 0, "the nursery, orphaned");
    cr_expect_eq(status, 0);
}

static void *start_many(void *context)
{
    (void)context;
    for (int i = 0; i < 20; i++) {
        struct process process = start();
        expect_done(&process);
        munmap(process.told, sizeof(struct told));
    }
    return NULL;
}

Test(nursery, serves_threads_at_once)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, start_many, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    boxes_expect_none();
}

Test(nursery, tells_why_there_is_no_process)
{
    const int fds[NURSERY_FILES] = {-1, -1, -1};
    struct error error = {0};
    pid_t pid;
    cr_expect_not(nursery_start("tell", fds, &pid, &error));
    cr_expect_eq(error.code, ERROR_INTERNAL);
    boxes_expect_none();
}
