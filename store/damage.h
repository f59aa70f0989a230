/* What becomes of a catalogued file that is not as it was recorded: it is looked at again under
 * its lock, put aside, and its image pulled, which rebuilds it (pull/pull_recall.c). For fsck and
 * the scrub. A file that is put aside counts as missing: readers get an error instead of wrong
 * bytes.
 */
#ifndef LARDER_STORE_DAMAGE_H
#define LARDER_STORE_DAMAGE_H

#include "store/blob_check.h"
#include "store/catalogue/catalogue.h"
#include "store/file_lock.h"

struct damage {
    bool busy;        /* somebody writes or removes the file right now; nothing else is known */
    bool is_recorded; /* the catalogue still has the file */
    enum blob_condition condition;
    const char *detail;      /* what is wrong, in the arena */
    const char *quarantined; /* where it is now; NULL: where it was */
};

/* Under the file's lock: whether the catalogue has the file. */
[[nodiscard]] bool damage_is_recorded(struct file_lock *lock, const struct blob_id *file,
                                      bool *recorded, struct error *error);

/* Reads the record and the file again, under the file's lock, and moves the file to quarantine/
 * if it is there, not as recorded, and `quarantine` says so. */
[[nodiscard]] bool damage_confirm(struct catalogue *catalogue, struct blobdir *blobdir,
                                  const struct blob_id *file, struct blob_reading *reading,
                                  bool quarantine, struct arena *arena, struct damage *damage,
                                  struct error *error);

/* The image whose pull rebuilds the file; NULL reference: no reference leads to it. */
struct damaged_image {
    const char *reference;
    const char *os;
    const char *architecture;
    const char *variant;
};
[[nodiscard]] bool damage_find_image(struct catalogue *catalogue, const struct blob_id *file,
                                     struct arena *arena, struct damaged_image *image,
                                     struct error *error);

/* Queues its pull, or joins the one under way; the pull's id, in the arena. */
[[nodiscard]] bool damage_queue_pull(struct catalogue *catalogue, const struct damaged_image *image,
                                     struct arena *arena, const char **pull_id,
                                     struct error *error);

#endif
