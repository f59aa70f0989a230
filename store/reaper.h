/* The reaper: unlinks condemned files with their rows locked, all but those whose file's lock
 * somebody has, to publish or to rescue that file. Any number of nodes may
 * reap at once: each takes rows that no other has. A description whose reference is still in the
 * catalogue stays, and is written anew if it is of an image that went (described.h).
 *
 * It goes in batches, each one transaction: rows locked, locks looked for, files unlinked, rows
 * deleted; a pass in two of them at a time, each on a connection of its own. Killed in the middle,
 * the rows stay and the next reaper finds the files gone. Directories are fsynced in the end; what
 * a power cut brings back before that has no row, and the sweep takes it. Descriptions are gone for
 * good before their rows are: one without a row would stop the sweep. Whether the connection,
 * and so the locked rows, are still there is looked at before it unlinks, and every 0.25 ms.
 */
#ifndef LARDER_STORE_REAPER_H
#define LARDER_STORE_REAPER_H

#include "store/catalogue/removal.h"

#include <stdatomic.h>

/* Unlinks those of the given files that are still condemned. A file whose lock is
 * busy is left to a later pass. One that cannot be unlinked does not keep the others:
 * it is told when they are done. */
[[nodiscard]] bool reaper_reap(struct catalogue *catalogue, struct blobdir *blobdir,
                               const struct blob_id *files, size_t file_count,
                               struct reaped *reaped, struct error *error);

/* Through all that is condemned, in two threads where there is more than a batch of layers and of
 * other files, or until *stop (may be NULL) is set: then each ends the batch that it is at. Fails
 * as reaper_reap() does, or when PostgreSQL is away for either. */
struct reaper_pass {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    const atomic_bool *stop;
};
[[nodiscard]] bool reaper_run_pass(const struct reaper_pass *pass, struct reaped *reaped,
                                   struct error *error);

#endif
