/* Removing: rows go in one transaction that condemns their files; the reaper
 * unlinks condemned files, each under its lock (reaper.h). Thread-safe.
 */
#ifndef LARDER_STORE_CATALOGUE_REMOVAL_H
#define LARDER_STORE_CATALOGUE_REMOVAL_H

#include "store/blobdir.h"
#include "store/catalogue/holders.h"

/* What a removal took out of the catalogue. */
struct removal {
    int64_t references;
    int64_t manifests;
    int64_t layers;
    struct blob_id *condemned; /* files that go now */
    size_t condemned_count;
    int64_t size_bytes; /* their recorded sizes; for a dry run's estimate */
};

/* Removes a reference for one platform (or all, when NULL) and what nothing else
 * reaches. Unless `force`: fails with ERROR_IMAGE_IN_USE when a live sandbox or a
 * snapshot would lose it, or a pin protects it; *users then names the sandboxes. */
[[nodiscard]] bool catalogue_remove_image(struct catalogue *catalogue,
                                          const struct reference *reference,
                                          const struct platform *platform, bool force,
                                          struct arena *arena, struct removal *removal,
                                          struct id_list *users, struct error *error);

/* Takes away what a pull built and nothing else reaches: one that ends on this node
 * (node_id), or that has ended. *removal->condemned are the layer files. */
[[nodiscard]] bool catalogue_drop_pull_layers(struct catalogue *catalogue, const char *pull_id,
                                              const char *node_id, struct arena *arena,
                                              struct removal *removal, struct error *error);

struct prune_options {
    bool dry_run;
    int64_t unused_for_seconds; /* 0: whatever is unused now */
    bool has_keep_bytes;
    int64_t keep_bytes;         /* least recently used first, until the cache fits */
    const char *reference_glob; /* NULL: all */
};

/* Removes references that no live sandbox, snapshot, pin or running pull uses,
 * then what nothing reaches any more. A dry run takes the same path and rolls
 * back; its removal holds the same counts. */
[[nodiscard]] bool catalogue_prune(struct catalogue *catalogue, const struct prune_options *options,
                                   struct arena *arena, struct removal *removal,
                                   struct error *error);

#endif
