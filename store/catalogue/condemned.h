/* Condemned files as a reaper takes them: a batch of rows of condemned_files, locked until the
 * session's transaction ends. While a row is locked, nobody gets the lock of its file
 * (file_lock.h); who had that before is busy with the file, which then stays.
 */
#ifndef LARDER_STORE_CATALOGUE_CONDEMNED_H
#define LARDER_STORE_CATALOGUE_CONDEMNED_H

#include "store/catalogue/removal.h"

enum condemned_end {
    CONDEMNED_STAYS,   /* for a later pass */
    CONDEMNED_RENEWED, /* a description that is as it should be: the row goes, the file stays */
    CONDEMNED_GONE,    /* and counted for the prune */
};

struct condemned_file {
    struct blob_id id;
    const char *kind; /* as the row says it */
    const char *digest;
    const char *reference;  /* of a description, where it is known; else NULL */
    const char *removal_id; /* of the prune that condemned it; else NULL */
    const char *place;      /* of the row, which stays there as long as it is locked */
    bool is_busy;           /* somebody has the file's lock: it is not to be touched */
    bool is_described;      /* the reference is in the catalogue: the file is to be right */
    enum condemned_end end; /* for the caller to say, with freed_bytes */
    int64_t freed_bytes;
};

/* Lives in the arena that it was locked with. */
struct condemned_batch {
    struct condemned_file *files;
    size_t count;
    bool has_more; /* there may be more behind the last of them */
};

/* Locks up to `limit` rows behind a place (NULL: the first), which nobody else has locked: those of
 * layers, or all others, which are what images have of their own. They come in the order in which
 * they stand in their table, and were written: for a prune, that is about the one in which the
 * files were, and a file system unlinks in that order faster than in any other. */
[[nodiscard]] bool condemned_lock_behind(struct catalogue_session *session, bool layers,
                                         const char *place, size_t limit, struct arena *arena,
                                         struct condemned_batch *batch, struct error *error);
/* Locks the rows of those of the given files that are condemned still. */
[[nodiscard]] bool condemned_lock_given(struct catalogue_session *session,
                                        const struct blob_id *files, size_t count,
                                        struct arena *arena, struct condemned_batch *batch,
                                        struct error *error);

/* Deletes the rows of what does not stay, and adds what is gone to the figures of its prune. */
[[nodiscard]] bool condemned_forget(struct catalogue_session *session,
                                    const struct condemned_batch *batch, struct arena *arena,
                                    struct error *error);

#endif
