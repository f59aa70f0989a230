#include "store/crash_point.h"

#ifdef LARDER_CRASH_POINTS
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[CRASH_POINT_COUNT] = {
#define POINT(id, name, what) name,
    CRASH_POINTS(POINT)
#undef POINT
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum crash_point wanted = CRASH_POINT_COUNT; /* set once */
static int wanted_signal;                           /* set once, too */
static atomic_long left;                            /* times to pass it alive, and one more */

static void read_variable(const char *variable, int signal)
{
    const char *text = getenv(variable);
    if (!text || !*text)
        return;
    wanted_signal = signal;
    size_t length = strcspn(text, ":");
    for (int i = 0; i < CRASH_POINT_COUNT; i++)
        if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0)
            wanted = (enum crash_point)i;
    atomic_store(&left, text[length] == ':' ? strtol(text + length + 1, NULL, 10) : 1);
    if (wanted == CRASH_POINT_COUNT) {
        fprintf(stderr, "%s: there is no step \"%s\"\n", variable, text);
        abort();
    }
}

static void read_environment(void)
{
    read_variable("LARDER_CRASH_AT", SIGKILL);
    read_variable("LARDER_STOP_AT", SIGSTOP);
}

void crash_point_reach(enum crash_point point)
{
    pthread_once(&once, read_environment);
    if (point != wanted || atomic_fetch_sub(&left, 1) != 1)
        return;
    (void)raise(wanted_signal); /* to this thread, which does nothing more before it is obeyed */
}
#endif
