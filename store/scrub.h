/* The scrub: reads files slowly, the least recently read first, and compares them with their
 * digests. Any number of nodes do it, each file by one of them. A file that is not as recorded is
 * put aside and its image pulled (damage.h).
 */
#ifndef LARDER_STORE_SCRUB_H
#define LARDER_STORE_SCRUB_H

#include "store/damage.h"

struct scrub_config {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    int64_t bytes_per_second; /* 0: as fast as it goes */
    const atomic_bool *stop;
    /* A file was not as recorded. The pull is NULL when no reference leads to it. */
    void (*tell)(void *context, const struct blob_id *file, const struct damage *damage,
                 const struct damaged_image *image, const char *pull_id);
    void *context;
};

struct scrubbed {
    bool was_due; /* there was something to read */
    int64_t files;
    int64_t bytes;
};

/* Reads the next layer, or what belongs to the next manifest; in turn. Nothing that was read
 * within the last day is due. */
[[nodiscard]] bool scrub_next(const struct scrub_config *config, bool layer,
                              struct scrubbed *scrubbed, struct error *error);

#endif
