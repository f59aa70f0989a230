/* The thread that reaps what removals left: files whose lock was busy, or whose
 * node died before it unlinked them (store/reaper.h). */
#ifndef LARDER_SERVER_REAPER_THREAD_H
#define LARDER_SERVER_REAPER_THREAD_H

#include "server/log.h"
#include "store/error.h"

struct blobdir;
struct catalogue;
struct reaper_thread;

/* What it is given must outlive it. */
[[nodiscard]] struct reaper_thread *reaper_thread_start(struct catalogue *catalogue,
                                                        struct blobdir *blobdir,
                                                        const struct log *log, struct error *error);

/* Something was left over: look soon rather than at the next round. Any thread. */
void reaper_thread_wake(struct reaper_thread *reaper);

/* Ends the round that runs, joins, frees. NULL is fine. */
void reaper_thread_stop(struct reaper_thread *reaper);

#endif
