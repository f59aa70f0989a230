/* Files that stand in the blob directory and that the catalogue neither has nor condemned:
 * what the sweep and fsck look for. What is found may be known a moment later; who does
 * something about a file takes its lock and asks again. */
#ifndef LARDER_STORE_UNKNOWN_FILES_H
#define LARDER_STORE_UNKNOWN_FILES_H

#include "store/arena.h"
#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"

struct unknown_files {
    struct digest *keys; /* in the arena */
    size_t count;
};
/* Those of the given files. */
[[nodiscard]] bool unknown_files_find(struct catalogue *catalogue, enum blob_kind kind,
                                      const struct digest *keys, size_t count, struct arena *arena,
                                      struct unknown_files *unknown, struct error *error);

/* Goes through all files of a kind, a thousand at a time, with one question to the catalogue
 * each. A call that fails ends the walk. */
struct unknown_walk {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    void *context; /* of the calls */
    bool (*unknown)(void *context, const struct blob_id *file, struct error *error);
    /* A name that no blob has; may be NULL. */
    bool (*foreign)(void *context, enum blob_kind kind, const char *name, struct error *error);
    /* Once that many files were looked at; false: enough. May be NULL. */
    bool (*go_on)(void *context, size_t files, bool is_last);
};
[[nodiscard]] bool unknown_files_walk(const struct unknown_walk *walk, enum blob_kind kind,
                                      struct error *error);

#endif
