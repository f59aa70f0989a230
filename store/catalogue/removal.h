/* Removing: rows go in one transaction that condemns their files; the reaper
 * unlinks condemned files (reaper.h). Thread-safe.
 */
#ifndef LARDER_STORE_CATALOGUE_REMOVAL_H
#define LARDER_STORE_CATALOGUE_REMOVAL_H

#include "store/blobdir.h"
#include "store/catalogue/changes.h"
#include "store/catalogue/holders.h"

/* Files that go now. */
struct condemned {
    struct blob_id *files;
    size_t count;
};

/* What the removal of an image leaves to do. */
struct removed_image {
    struct condemned condemned;
    struct changes changes; /* to be evicted from memory */
};

/* Removes a reference for one platform (or all, when NULL) and what it alone reaches.
 * Unless `force`: fails with ERROR_IMAGE_IN_USE when a live sandbox or a
 * snapshot would lose it, or a pin protects it; *users then names the sandboxes. */
[[nodiscard]] bool catalogue_remove_image(struct catalogue *catalogue,
                                          const struct reference *reference,
                                          const struct platform *platform, bool force,
                                          struct arena *arena, struct removed_image *removed,
                                          struct id_list *users, struct error *error);

/* Takes away what a pull held and nothing else reaches: one that ends on this node
 * (node_id), or that has ended. Also what it found there: who built it may have gone before,
 * and left it to this one. *condemned are the layer files, and those of the image
 * that it may have published in vain. */
[[nodiscard]] bool catalogue_drop_pull_layers(struct catalogue *catalogue, const char *pull_id,
                                              const char *node_id, struct arena *arena,
                                              struct condemned *condemned, struct error *error);

struct prune_options {
    bool dry_run;
    int64_t unused_for_seconds; /* 0: whatever is unused now */
    bool has_keep_bytes;
    int64_t keep_bytes;         /* least recently used first, until the cache fits */
    const char *reference_glob; /* NULL: all */
};

/* What a prune took out of the catalogue, or would. */
struct removal {
    int64_t id; /* by which reapers count its files */
    int64_t references;
    int64_t manifests;
    int64_t layers;
    int64_t allocated_bytes; /* of its files, as measured when they were published */
};

/* Removes references that no live sandbox, snapshot, pin or pull that has not ended uses,
 * then what nothing reaches any more. A dry run takes the same path and rolls
 * back; its removal holds the same counts. Needs the same memory for any number of images. */
[[nodiscard]] bool catalogue_prune(struct catalogue *catalogue, const struct prune_options *options,
                                   struct removal *removal, struct error *error);

/* What reapers unlinked. */
struct reaped {
    int64_t layer_files;
    int64_t fsmeta_files;
    int64_t vmdk_files;
    int64_t description_files;
    int64_t bytes; /* allocated bytes that went */
};

/* What all nodes' reapers unlinked for that prune so far, and how many of its files wait
 * still. */
[[nodiscard]] bool catalogue_removal_progress(struct catalogue *catalogue, int64_t removal_id,
                                              struct reaped *reaped, int64_t *waiting,
                                              struct error *error);

/* Configs that no manifest names any more; they have no files. */
[[nodiscard]] bool catalogue_forget_configs(struct catalogue *catalogue, struct error *error);

#endif
