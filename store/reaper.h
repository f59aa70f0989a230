/* The reaper: unlinks condemned files, each under its file's lock, which is the
 * lock that a pull takes to publish or rescue that file. Any number of nodes may
 * reap at once. Killed between unlink and commit, the row stays and the next
 * reaper finds the file gone.
 */
#ifndef LARDER_STORE_REAPER_H
#define LARDER_STORE_REAPER_H

#include "store/catalogue/removal.h"

struct reaped {
    int64_t fsmeta_files;
    int64_t vmdk_files;
    int64_t layer_files;
    int64_t bytes; /* allocated bytes that went */
};

/* Unlinks those of the given files that are still condemned. A file whose lock is
 * busy is left to a later round. One that cannot be unlinked does not keep the others:
 * it is told when they are done. */
[[nodiscard]] bool reaper_reap(struct catalogue *catalogue, struct blobdir *blobdir,
                               const struct blob_id *files, size_t file_count,
                               struct reaped *reaped, struct error *error);

/* One round over whatever is condemned, oldest first, at most `limit` files. */
[[nodiscard]] bool reaper_round(struct catalogue *catalogue, struct blobdir *blobdir, size_t limit,
                                struct reaped *reaped, struct error *error);

#endif
