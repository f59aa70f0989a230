/* What blobdir*.c, blob_list.c, blob_mark.c and blob_quarantine.c share: the inside of the
 * directory. */
#ifndef LARDER_STORE_BLOBDIR_INTERNAL_H
#define LARDER_STORE_BLOBDIR_INTERNAL_H

#include "store/blobdir.h"

#include <stdatomic.h>

enum { BLOBDIR_NODE_ID_SIZE = 64 };

/* What the catalogue calls a kind, and the parts of its path. */
struct blob_kind_row {
    const char *name;
    const char *directory;
    const char *prefix;
    const char *suffix;
};
extern const struct blob_kind_row blob_kinds[BLOB_KIND_COUNT];

struct blobdir {
    int fd;                        /* the directory itself */
    int kind_fds[BLOB_KIND_COUNT]; /* layers/, fsmeta/, vmdk/, manifests/ */
    int tmp_fd;                    /* tmp/ */
    char node_id[BLOBDIR_NODE_ID_SIZE];
    atomic_uint draft_count; /* makes draft names unique within the node */
};

/* blob_look() in any directory of ours. */
[[nodiscard]] bool blobdir_look_at(int directory, const char *name, struct blob_state *state,
                                   struct error *error);

/* The draft's path within tmp/. */
[[nodiscard]] const char *blob_draft_name(const struct blob_draft *draft);

/* fsync; `name` is for the error. */
[[nodiscard]] bool blobdir_sync_fd(int fd, const char *name, struct error *error);

#endif
