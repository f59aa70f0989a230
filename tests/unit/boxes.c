#include "boxes.h"

#include "store/cleanup.h"
#include "store/convert.h"
#include "store/convert/nursery.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* `larder nursery` or not; one that ends meanwhile is neither. */
static bool runs(pid_t pid, bool nursery)
{
    char path[64];
    char words[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    cleanup_file FILE *file = fopen(path, "re");
    if (!file || fread(words, 1, sizeof(words) - 1, file) == 0 || strcmp(words, "larder") != 0)
        return false;
    return (strcmp(words + sizeof("larder"), "nursery") == 0) == nursery;
}

/* A child's parent may be any of our threads. 0: there is none. */
static pid_t child_that_runs(bool nursery)
{
    pid_t found = 0;
    glob_t lists;
    cr_assert_eq(glob("/proc/self/task/*/children", 0, NULL, &lists), 0);
    for (size_t i = 0; found == 0 && i < lists.gl_pathc; i++) {
        cleanup_file FILE *file = fopen(lists.gl_pathv[i], "re");
        char word[32];
        while (file && found == 0 && fscanf(file, "%31s", word) == 1)
            if (runs((pid_t)strtol(word, NULL, 10), nursery))
                found = (pid_t)strtol(word, NULL, 10);
    }
    globfree(&lists);
    return found;
}

static pid_t wait_for(bool nursery)
{
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    pid_t found = 0;
    for (int waits = 0; (found = child_that_runs(nursery)) == 0; waits++) {
        cr_assert_lt(waits, 30000, "it runs");
        nanosleep(&pause, NULL);
    }
    return found;
}

pid_t boxes_child(void)
{
    return wait_for(false);
}

pid_t boxes_nursery(void)
{
    return wait_for(true);
}

void boxes_expect_none(void)
{
    nursery_end();
    cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
}

const char *boxes_said_of(pid_t pid, const char *file, const char *name)
{
    static char line[256];
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid ? pid : getpid(), file);
    cleanup_file FILE *lines = fopen(path, "re");
    cr_assert_not_null(lines, "%s can be read", path);
    while (fgets(line, sizeof(line), lines))
        if (strncmp(line, name, strlen(name)) == 0)
            return line + strlen(name) + strspn(line + strlen(name), ": \t");
    cr_assert_fail("%s does not tell %s", path, name);
    return NULL;
}

/* The test itself may have filters: those of a container. */
void boxes_wait_until_sealed(pid_t pid)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    const long ours = strtol(boxes_said_of(0, "status", "Seccomp_filters"), NULL, 10);
    for (int waits = 0; strtol(boxes_said_of(pid, "status", "Seccomp_filters"), NULL, 10) <= ours;
         waits++) {
        cr_assert_lt(waits, 3000, "the process closes its box");
        nanosleep(&pause, NULL);
    }
}

/* They were there before the filter. */
static void expect_sealed_threads(pid_t pid, unsigned least)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *directory = opendir(path);
    cr_assert_not_null(directory);
    for (struct dirent *thread; (thread = readdir(directory));) {
        if (thread->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "task/%.20s/status", thread->d_name);
        cr_expect_eq(boxes_said_of(pid, path, "Seccomp:")[0], '2',
                     "the filter is on in each thread");
        cr_expect_eq(strtoull(boxes_said_of(pid, path, "CapEff"), NULL, 16), 0);
        count++;
    }
    closedir(directory);
    cr_expect_geq(count, least, "there are %u threads", count);
}

void boxes_expect_sealed(pid_t pid, unsigned threads, unsigned deadline_seconds)
{
    boxes_wait_until_sealed(pid);
    expect_sealed_threads(pid, threads);
    static const char *const sets[] = {"CapPrm", "CapEff", "CapInh"};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        cr_expect_eq(strtoull(boxes_said_of(pid, "status", sets[i]), NULL, 16), 0, "%s is empty",
                     sets[i]);
    cr_expect_eq(boxes_said_of(pid, "status", "NoNewPrivs")[0], '1');
    if (geteuid() == 0) {
        cr_expect_str_eq(boxes_said_of(pid, "status", "Uid"), "65534\t65534\t65534\t65534\n");
        cr_expect_str_eq(boxes_said_of(pid, "status", "Gid"), "65534\t65534\t65534\t65534\n");
        cr_expect_eq(strtol(boxes_said_of(pid, "status", "Groups"), NULL, 10), 0,
                     "it is in no group");
    }
    static const char *const limits[] = {"Max core file size", "Max processes", "Max open files"};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        cr_expect_eq(boxes_said_of(pid, "limits", limits[i])[0], '0', "%s is 0", limits[i]);
    cr_expect_eq(strtoull(boxes_said_of(pid, "limits", "Max cpu time"), NULL, 10),
                 (uint64_t)CONVERT_THREADS * deadline_seconds);
}
