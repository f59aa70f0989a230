/* For tools whose work is timed side by side: with --at-line as its first argument a tool stops
 * itself (SIGSTOP) when it has made ready, and begins when it is continued. */
#ifndef LARDER_TESTS_TOOLS_START_LINE_H
#define LARDER_TESTS_TOOLS_START_LINE_H

#include <signal.h>
#include <stdbool.h>
#include <string.h>

static bool waits_at_line;

/* Takes the flag out of the arguments. */
static inline void start_line_take_flag(int *argc, char **argv)
{
    if (*argc < 2 || strcmp(argv[1], "--at-line") != 0)
        return;
    waits_at_line = true;
    memmove(argv + 1, argv + 2, (size_t)(*argc - 1) * sizeof(*argv)); /* and the NULL behind them */
    --*argc;
}

static inline void start_line_wait(void)
{
    if (waits_at_line)
        raise(SIGSTOP);
}

#endif
