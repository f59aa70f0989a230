/* The mark of a blob directory: the file `larder.id` in it, which says whose it is.
 *
 *     catalogue 8f0c…
 *     directory 27ab…
 *
 * A directory's own id tells two directories of one catalogue apart: the shared one, and what is
 * there on a host where it is not mounted. Thread-safe.
 */
#ifndef LARDER_STORE_BLOB_MARK_H
#define LARDER_STORE_BLOB_MARK_H

#include "store/blobdir.h"

enum { BLOB_MARK_ID_SIZE = 36 + 1 };

struct blob_mark {
    char catalogue_id[BLOB_MARK_ID_SIZE]; /* UUIDs, as PostgreSQL prints them */
    char directory_id[BLOB_MARK_ID_SIZE];
};

/* A directory without a mark is *marked = false; one with another text in the file fails. */
[[nodiscard]] bool blob_mark_read(struct blobdir *blobdir, struct blob_mark *mark, bool *marked,
                                  struct error *error);
/* Marks it, durably and whole or not at all. When two do it at once, the first wins, also on two
 * hosts: read the mark again. With `replace` it takes the place of an older mark. */
[[nodiscard]] bool blob_mark_write(struct blobdir *blobdir, const struct blob_mark *mark,
                                   bool replace, struct error *error);

#endif
