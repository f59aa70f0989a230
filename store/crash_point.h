/* Steps at which a test build can be made to die, so that a test can look at what each leaves:
 *
 *     LARDER_CRASH_AT=publish.renamed     kills the process (SIGKILL) when it gets there
 *     LARDER_CRASH_AT=publish.renamed:3   the third time
 *     LARDER_STOP_AT=publish.renamed      stops the process (SIGSTOP), which then goes on
 *
 * Only with the CMake option LARDER_CRASH_POINTS; else CRASH_POINT() is nothing. A new step is a
 * line of the table here, a CRASH_POINT() where it happens, and a way to get there in
 * tests/integration/test_crash_points.py. `larder crash-points` prints the table.
 */
#ifndef LARDER_STORE_CRASH_POINT_H
#define LARDER_STORE_CRASH_POINT_H

/* Identifier, name, and what is there when the process dies. */
#define CRASH_POINTS(POINT)                                                                        \
    POINT(PUBLISH_BEGUN, "publish.begun", "a whole draft under tmp/, not synced")                  \
    POINT(PUBLISH_SYNCED, "publish.synced", "a synced draft under tmp/")                           \
    POINT(PUBLISH_RENAMED, "publish.renamed", "the file, its directory not synced")                \
    POINT(PUBLISH_DONE, "publish.done", "the file")                                                \
    POINT(LAYER_HELD, "layer.held", "a pull that knows whether its layer is here")                 \
    POINT(LAYER_PUBLISHED, "layer.published", "a layer file without a row")                        \
    POINT(LAYER_CATALOGUED, "layer.catalogued", "a layer with its row, held by its pull")          \
    POINT(RESCUE_FOUND, "rescue.found", "a condemned layer file that is whole and wanted")         \
    POINT(RESCUE_DONE, "rescue.done", "a layer that was condemned, with its row")                  \
    POINT(COMPOSE_DRAFTED, "compose.drafted", "a draft of fsmeta, its layers complete")            \
    POINT(COMPOSE_CONDEMNED, "compose.condemned", "condemned rows of files that are not there")    \
    POINT(COMPOSE_PUBLISHED, "compose.published", "an image's files, condemned, without its rows") \
    POINT(TRANSACTION_WRITTEN, "transaction.written", "a transaction that was not committed")      \
    POINT(TRANSACTION_DONE, "transaction.done", "a commit that nobody has heard of")               \
    POINT(REAP_BEGUN, "reap.begun", "condemned files, all there")                                  \
    POINT(REAP_LOCKED, "reap.locked", "a condemned file, still there")                             \
    POINT(REAP_UNLINKED, "reap.unlinked", "a condemned row, its file gone, not synced")            \
    POINT(REAP_DESCRIBED, "reap.described", "a condemned row, its description in order")           \
    POINT(REAP_FORGOTTEN, "reap.forgotten", "a condemned row whose end was not committed")         \
    POINT(REAP_DONE, "reap.done", "one condemned file less")                                       \
    POINT(SWEEP_BEGUN, "sweep.begun", "a sweep that has not looked")                               \
    POINT(SWEEP_LOCKED, "sweep.locked", "an orphan")                                               \
    POINT(SWEEP_CONDEMNED, "sweep.condemned", "an orphan whose condemnation was not committed")    \
    POINT(SWEEP_DONE, "sweep.done", "a condemned orphan")                                          \
    POINT(QUARANTINE_BEGUN, "quarantine.begun", "an empty directory in quarantine/")               \
    POINT(QUARANTINE_RENAMED, "quarantine.renamed", "the file in quarantine/, nothing synced")     \
    POINT(QUARANTINE_DONE, "quarantine.done", "the file in quarantine/")

enum crash_point {
#define POINT(id, name, what) CRASH_##id,
    CRASH_POINTS(POINT)
#undef POINT
        CRASH_POINT_COUNT
};

#ifdef LARDER_CRASH_POINTS
void crash_point_reach(enum crash_point point);
#define CRASH_POINT(id) crash_point_reach(CRASH_##id)
#else
#define CRASH_POINT(id) ((void)0)
#endif

#endif
