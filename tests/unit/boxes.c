#include "boxes.h"

#include "store/cleanup.h"
#include "store/convert/nursery.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

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
