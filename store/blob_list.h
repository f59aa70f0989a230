/* What stands in the blob directory, read from the directory itself: for the sweep and
 * for fsck, which compare it with the catalogue. Files may come and go meanwhile; who
 * comes or goes while it is read is listed or not.
 *
 * Left out: microsandbox's locks (a file's name and ".lock"), and the files that an NFS
 * client keeps for a process that has them open (".nfs…").
 */
#ifndef LARDER_STORE_BLOB_LIST_H
#define LARDER_STORE_BLOB_LIST_H

#include "store/arena.h"
#include "store/blobdir.h"

struct blob_entry {
    const char *name; /* within the directory of its kind; in the arena */
    bool is_blob;     /* its name is that of a blob of this kind */
    struct digest key;
};

/* A directory that is being read. One thread. */
struct blob_list;

[[nodiscard]] struct blob_list *blob_list_open(struct blobdir *blobdir, enum blob_kind kind,
                                               struct error *error);
/* Up to `limit` more entries; *count is 0 when there are none left. */
[[nodiscard]] bool blob_list_next(struct blob_list *list, size_t limit, struct arena *arena,
                                  struct blob_entry **entries, size_t *count, struct error *error);
/* NULL is fine. */
void blob_list_close(struct blob_list *list);

static inline void cleanup_blob_list_slot(struct blob_list **slot)
{
    blob_list_close(*slot);
}
#define cleanup_blob_list cleanup(cleanup_blob_list_slot)

#endif
