/* The sweep: looks through the blob directory for files that the catalogue does not know, and
 * condemns them; the reaper unlinks them. Any number of nodes may ask for it, one does it.
 *
 * It takes a file that has no row, neither in the catalogue nor in condemned_files, that did
 * not change during the grace period, and whose lock is free: who publishes a file holds its
 * lock until the row is there. The grace period is for a publisher that lost its lock with its
 * connection and has not noticed.
 *
 * Images whose description (manifests/) is here and unknown were in the catalogue once: then
 * the catalogue lost something, or belongs to another directory. The sweep says so and
 * condemns nothing; `larder fsck --repair` takes them in.
 */
#ifndef LARDER_STORE_SWEEP_H
#define LARDER_STORE_SWEEP_H

#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"

#include <stdatomic.h>

struct sweep_config {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    int64_t every_seconds; /* not sooner after the last one began, on any node */
    int64_t grace_seconds;
    const atomic_bool *stop; /* set: end early */
};

struct swept {
    bool ran;               /* it was due, and nobody else was at it */
    int64_t files;          /* looked at */
    int64_t condemned;      /* orphans that go now */
    int64_t busy;           /* orphans whose lock was taken: next time */
    int64_t foreign;        /* names that are not ours, past the grace period; they stay */
    int64_t drafts;         /* strays under tmp/ that went */
    int64_t unknown_images; /* descriptions of any age; then nothing is condemned */
};

[[nodiscard]] bool sweep_if_due(const struct sweep_config *config, struct swept *swept,
                                struct error *error);

#endif
