/* A file of the blob directory against what the catalogue recorded of it. No SQL here. */
#ifndef LARDER_STORE_BLOB_CHECK_H
#define LARDER_STORE_BLOB_CHECK_H

#include "store/blobdir.h"

#include <stdatomic.h>

enum blob_condition {
    BLOB_IS_WHOLE,
    BLOB_IS_MISSING,
    BLOB_HAS_WRONG_SIZE, /* or is no file at all */
    BLOB_IS_DAMAGED,     /* its bytes are not those that were recorded */
    BLOB_IS_UNREADABLE,  /* they cannot be read now, whatever they are */
};

/* "missing", "wrong size", "damaged", "unreadable". */
[[nodiscard]] const char *blob_condition_name(enum blob_condition condition);

/* What was recorded. A description (BLOB_MANIFEST) has neither size nor digest: it is whole when
 * its documents are those of one of the image's manifests. */
struct blob_record {
    struct blob_id id;
    int64_t size_bytes;
    struct digest digest;
    const char *manifest_digests; /* of a description: those that it may have, with spaces */
};

/* How the bytes are read: not at all, as fast as it goes, or slowly. */
struct blob_reading {
    bool bytes;               /* else only size and kind are looked at */
    int64_t bytes_per_second; /* 0: as fast as it goes */
    const atomic_bool *stop;  /* may be NULL; when set, reading ends, as whole so far */
    bool cannot_wait;         /* what cannot be read is damaged: it is wanted now, and made anew */
    int64_t read_bytes;       /* grows by what was read */
};

/* Fails only when the directory itself cannot be read. *detail says in a few words what is
 * wrong, in the arena. */
[[nodiscard]] bool blob_check(struct blobdir *blobdir, const struct blob_record *record,
                              struct blob_reading *reading, struct arena *arena,
                              enum blob_condition *condition, const char **detail,
                              struct error *error);

#endif
