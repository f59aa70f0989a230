/* The blob directory: the files, their names, and how one becomes visible.
 *
 * A file is written under tmp/<node>/, checked, fsynced, renamed to its name and
 * its directory fsynced. A name outside tmp/ always means a whole file. Nothing
 * but rename and fsync is relied on, and once on link (blob_mark.h): the directory may be
 * NFS or CephFS.
 * Thread-safe.
 */
#ifndef LARDER_STORE_BLOBDIR_H
#define LARDER_STORE_BLOBDIR_H

#include "store/arena.h"
#include "store/digest.h"
#include "store/error.h"

#include <stdbool.h>
#include <stdint.h>

enum blob_kind {
    BLOB_LAYER,    /* layers/sha256_<hex>.erofs, by diff_id */
    BLOB_FSMETA,   /* fsmeta/sha256_<hex>.erofs, by manifest digest */
    BLOB_VMDK,     /* vmdk/sha256_<hex>.vmdk, by manifest digest */
    BLOB_MANIFEST, /* manifests/<hex>.json, by sha256 of the reference */
};
enum { BLOB_KIND_COUNT = 4 };

/* One file of the directory. */
struct blob_id {
    enum blob_kind kind;
    struct digest key;
};

enum { BLOB_PATH_SIZE = 128 }; /* the longest relative path with its NUL */

/* The path relative to the blob directory. Made of the digest alone. */
void blob_path(enum blob_kind kind, const struct digest *key, char path[BLOB_PATH_SIZE]);
/* The file's name within the directory of its kind. */
void blob_name(enum blob_kind kind, const struct digest *key, char name[BLOB_PATH_SIZE]);

/* "layer", "fsmeta", "vmdk", "manifest": as the catalogue says it. */
[[nodiscard]] const char *blob_kind_name(enum blob_kind kind);
[[nodiscard]] bool blob_kind_parse(const char *name, enum blob_kind *kind);

struct blobdir;

/* Opens the directory and makes what is missing of it. tmp/<node_id>/ comes with the
 * first draft; the id is a UUID that no process had before. */
[[nodiscard]] struct blobdir *blobdir_open(const char *path, const char *node_id,
                                           struct error *error);
/* Whether files there can be written, linked, renamed and made durable as we need it; else why
 * not. A full disk, where nothing can be tried, passes. Leaves nothing behind. */
[[nodiscard]] bool blobdir_probe(struct blobdir *blobdir, struct error *error);
/* Removes tmp/<node_id>/ and closes. NULL is fine. */
void blobdir_close(struct blobdir *blobdir);

/* Removes what a dead node left under tmp/. */
[[nodiscard]] bool blobdir_remove_node(struct blobdir *blobdir, const char *node_id,
                                       struct error *error);
/* The nodes that have something under tmp/; NULL-terminated, free each and all. */
[[nodiscard]] char **blobdir_list_nodes(struct blobdir *blobdir, struct error *error);
/* What else stands under tmp/, of no node: files, and files in directories, last changed
 * before that time; `remove` takes them away as well. */
struct blob_strays {
    const char **paths; /* relative to the blob directory; in the arena */
    size_t count;
};
[[nodiscard]] bool blobdir_find_strays(struct blobdir *blobdir, int64_t before_ms, bool remove,
                                       struct arena *arena, struct blob_strays *strays,
                                       struct error *error);

/* A file on its way: created under tmp/, published or gone. */
struct blob_draft;

/* A new empty file, open for reading and writing; 0644. */
[[nodiscard]] struct blob_draft *blob_draft_new(struct blobdir *blobdir, enum blob_kind kind,
                                                const struct digest *key, struct error *error);
[[nodiscard]] int blob_draft_fd(const struct blob_draft *draft);
/* Another fd of it, for reading alone, the caller's; -1 on error. */
[[nodiscard]] int blob_draft_open(const struct blob_draft *draft, struct error *error);
/* fsync: its bytes are durable. */
[[nodiscard]] bool blob_draft_sync(struct blob_draft *draft, struct error *error);
/* The same, if it was not done; then rename to its name, over an older one. */
[[nodiscard]] bool blob_draft_give_name(struct blob_draft *draft, struct error *error);
/* fsync of its directory: it keeps the name. */
[[nodiscard]] bool blob_draft_keep_name(const struct blob_draft *draft, struct error *error);
/* All three. */
[[nodiscard]] bool blob_draft_publish(struct blob_draft *draft, struct error *error);
/* *there: it has its name, or still stands where it was written: nobody took its node for dead and
 * cleared it away. */
[[nodiscard]] bool blob_draft_look(const struct blob_draft *draft, bool *there,
                                   struct error *error);
/* Once it is published: what the file takes on the disk. */
[[nodiscard]] int64_t blob_draft_allocated_bytes(const struct blob_draft *draft);
/* Frees; unlinks the file unless it was published. NULL is fine. */
void blob_draft_free(struct blob_draft *draft);

static inline void cleanup_draft_slot(struct blob_draft **slot)
{
    blob_draft_free(*slot);
}
#define cleanup_draft cleanup(cleanup_draft_slot)

/* A file that is never published, for what is needed while something is made; an empty
 * draft, gone with blob_draft_free(). */
[[nodiscard]] struct blob_draft *blob_scratch_new(struct blobdir *blobdir, struct error *error);

/* Opens a published file for reading: an fd, or -1 with os_errno (ENOENT: not there). */
[[nodiscard]] int blob_open(struct blobdir *blobdir, enum blob_kind kind, const struct digest *key,
                            struct error *error);
/* True when the file is there with exactly that size. */
[[nodiscard]] bool blob_is_whole(struct blobdir *blobdir, enum blob_kind kind,
                                 const struct digest *key, int64_t size_bytes);
/* What stands at a name; times are the file system's own. */
struct blob_state {
    bool exists;
    bool is_file; /* and no directory, link or device */
    int64_t size_bytes;
    int64_t allocated_bytes; /* what it takes on the disk */
    int64_t changed_at_ms;   /* when it was last written, renamed or given its owner */
};
[[nodiscard]] bool blob_look(struct blobdir *blobdir, enum blob_kind kind, const char *name,
                             struct blob_state *state, struct error *error);
[[nodiscard]] bool blob_look_up(struct blobdir *blobdir, enum blob_kind kind,
                                const struct digest *key, struct blob_state *state,
                                struct error *error);
/* The same of a name under tmp/. */
[[nodiscard]] bool blobdir_look_at_draft(struct blobdir *blobdir, const char *name,
                                         struct blob_state *state, struct error *error);
/* What the file system's clock says: that of a file server, which may not be ours. */
[[nodiscard]] bool blobdir_now_ms(struct blobdir *blobdir, int64_t *now_ms, struct error *error);

/* Moves what is at that name within the kind's directory to quarantine/, which only people
 * empty. *path is where it is now, or NULL when it was gone. The caller holds the file's lock,
 * if it is one that has a lock. */
[[nodiscard]] bool blob_quarantine(struct blobdir *blobdir, enum blob_kind kind, const char *name,
                                   struct arena *arena, const char **path, struct error *error);

/* Unlinks; a file that is not there is fine. *freed_bytes: its allocated bytes. */
[[nodiscard]] bool blob_unlink(struct blobdir *blobdir, enum blob_kind kind,
                               const struct digest *key, int64_t *freed_bytes, struct error *error);
/* fsyncs the directory of that kind, so that unlinks last. */
[[nodiscard]] bool blob_sync(struct blobdir *blobdir, enum blob_kind kind, struct error *error);

#endif
