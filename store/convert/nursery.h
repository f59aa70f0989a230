/* The nursery: a process that has this program's libraries loaded, and forks a boxed process
 * whenever the node wants one. Started from its file each would load some fifty libraries, which
 * takes longer than a small layer does.
 *
 *     node ── command and open files ──► nursery ── clone(CLONE_PARENT) ──► boxed process
 *          ◄────────── its pid ──────────
 *          ───────────────────────────────── "begin" ──────────────────────►
 *
 * A boxed process is the node's own child: the node waits for it, and nothing becomes of it when
 * the nursery ends. The nursery sees no byte of any stream. It ends with its socket, so with the
 * node, however that ends.
 */
#ifndef LARDER_STORE_CONVERT_NURSERY_H
#define LARDER_STORE_CONVERT_NURSERY_H

#include "store/error.h"

#include <stdbool.h>
#include <sys/types.h>

enum { NURSERY_FILES = 3 };

/* The node's side; thread-safe. One nursery at a time for the whole of this process. */

/* Starts `larder COMMAND`, of at most 7 characters, with those files (in the order of its numbers:
 * BOX_INPUT_FD, BOX_OUTPUT_FD, BOX_CHANNEL_FD), which stay the caller's, and with no others. Begins
 * another nursery when there is none, or none that answers within ten seconds, for which all who
 * ask wait. No two processes have these files, whatever became of the first nursery. */
[[nodiscard]] bool nursery_start(const char *command, const int fds[NURSERY_FILES], pid_t *child,
                                 struct error *error);

/* Begins the nursery, so that the first process need not wait for it. A failure is that of the next
 * nursery_start(). */
void nursery_prepare(void);

/* Ends the nursery, if there is one. What is started later has its code and its stack at other
 * addresses: to be called when a boxed process crashed, lest one crash be of use to the next. */
void nursery_end(void);

/* The nursery's main(). Returns in each boxed process, the command of which argv[1] then is, and in
 * no other case: when the node has gone it exits. */
void nursery_main(char **argv);

#endif
