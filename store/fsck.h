/* fsck: the catalogue against the blob directory, and back (invariants 1 and 2 of the contract),
 * while nodes serve or not. What looks wrong is looked at again under its file's lock before it is
 * a problem; a file whose lock is taken is being worked on and is none.
 *
 * Repair deletes nothing: what is damaged or unknown goes to quarantine/, what is missing then is
 * pulled. Only drafts of dead nodes and strays under tmp/ go, and rows that nothing reaches.
 */
#ifndef LARDER_STORE_FSCK_H
#define LARDER_STORE_FSCK_H

#include "store/arena.h"
#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"

enum fsck_kind {
    FSCK_MISSING,       /* catalogued, and not there */
    FSCK_WRONG_SIZE,    /* catalogued, with another size than recorded, or no file */
    FSCK_DAMAGED,       /* catalogued, with other bytes than recorded; with `verify` */
    FSCK_UNREADABLE,    /* catalogued, and its bytes cannot be read now; with `verify` */
    FSCK_REJECTED,      /* as recorded, but fsck.erofs does not accept it; with `verify` */
    FSCK_EXTRA,         /* there under a blob's name, and unknown to the catalogue */
    FSCK_UNKNOWN_IMAGE, /* a description of an image that the catalogue does not have */
    FSCK_FOREIGN,       /* there under a name that no blob has */
    FSCK_STRAY,         /* under tmp/, of no living node */
};
[[nodiscard]] const char *fsck_kind_name(enum fsck_kind kind);

struct fsck_problem {
    enum fsck_kind kind;
    const char *path;        /* relative to the blob directory */
    const char *detail;      /* what is wrong, in words */
    const char *reference;   /* an image that needs the file; NULL: none */
    const char *quarantined; /* where it is now; NULL: it was not moved */
    const char *action;      /* what was done about it, in words; NULL: nothing */
    bool repaired;
    struct fsck_problem *next;
};

struct fsck_report {
    struct fsck_problem *problems; /* in the order in which they were found */
    int64_t files[BLOB_KIND_COUNT];
    int64_t read_bytes;
    int64_t busy; /* files that somebody was working on: not judged */
    int64_t found;
    int64_t repaired;
    bool has_judge; /* fsck.erofs was there to be asked */
};

struct fsck_config {
    struct catalogue *catalogue;
    struct blobdir *blobdir;
    const char *node_id;  /* the blobdir's */
    const char *blob_dir; /* its path, for fsck.erofs */
    bool verify;          /* read every file */
    bool repair;
    int64_t grace_seconds; /* younger unknown files are no problem yet */
    /* Called once, and only if no node lives that would run the pulls of a repair. */
    bool (*run_pulls)(void *context, struct error *error);
    /* A problem was found, or something was done about one. */
    void (*tell)(void *context, const struct fsck_problem *problem);
    void *context;
};

/* What it finds lives in the arena. Fails when it could not look at everything. */
[[nodiscard]] bool fsck_run(const struct fsck_config *config, struct arena *arena,
                            struct fsck_report *report, struct error *error);

#endif
