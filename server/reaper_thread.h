/* The thread that reaps: what removals condemned on this node, what other nodes left, files
 * whose lock was busy, and leases that ran out (store/reaper.h). It is the one that unlinks
 * in bulk, so that a node's requests never do so side by side. */
#ifndef LARDER_SERVER_REAPER_THREAD_H
#define LARDER_SERVER_REAPER_THREAD_H

#include "server/log.h"
#include "store/catalogue/removal.h"

struct reaper_thread;

/* What it is given must outlive it. */
[[nodiscard]] struct reaper_thread *reaper_thread_start(struct catalogue *catalogue,
                                                        struct blobdir *blobdir,
                                                        const struct log *log, struct error *error);

/* Something was left over: look in a second rather than at the next round. Any thread. */
void reaper_thread_wake(struct reaper_thread *reaper);

/* Something was removed: what it leaves that is no file goes with the next round. Any thread. */
void reaper_thread_tell(struct reaper_thread *reaper);

/* Reaps at once, and waits until no file of that prune is left, on whichever node they are
 * unlinked; or until nothing moves any more because what is left has busy locks; or until
 * `hurry` says so. *reaped is what went, all nodes together. Any thread that may wait. */
[[nodiscard]] bool reaper_thread_finish(struct reaper_thread *reaper, int64_t removal_id,
                                        bool (*hurry)(void *context), void *context,
                                        struct reaped *reaped, struct error *error);

/* Ends after the batches that it is at, joins, frees. NULL is fine. */
void reaper_thread_stop(struct reaper_thread *reaper);

#endif
