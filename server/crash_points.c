/* larder crash-points: not for people. Prints the steps at which a test build can be made to
 * die (store/crash_point.h), one a line: its name, a tab, and what it leaves. */
#include "server/commands.h"
#include "store/crash_point.h"

int command_crash_points(int argc, char *const *argv)
{
    (void)argc;
    (void)argv;
#ifdef LARDER_CRASH_POINTS
#define POINT(id, name, what) puts(name "\t" what);
    CRASH_POINTS(POINT)
#undef POINT
    return 0;
#else
    fprintf(stderr, "larder: this build has no crash points\n");
    return 1;
#endif
}
