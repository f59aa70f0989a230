/* What the files of this folder share. */
#ifndef LARDER_STORE_FSCK_INTERNAL_H
#define LARDER_STORE_FSCK_INTERNAL_H

#include "store/catalogue/pulls.h"
#include "store/damage.h"
#include "store/fsck.h"

enum { FSCK_BATCH = 1000 };

/* A problem with a catalogued file, on its way to be repaired. */
struct fsck_case {
    struct blob_id file;
    struct fsck_problem *problem;
    const char *pull_id; /* that rebuilds it; NULL: none yet */
    struct fsck_case *next;
};

/* A description of an image that the catalogue does not have. */
struct fsck_import {
    struct digest key;
    struct fsck_problem *problem;
    const char *pull_id;
    struct fsck_import *next;
};

struct fsck {
    const struct fsck_config *config;
    struct arena *arena; /* the report's */
    struct fsck_report *report;
    struct fsck_problem **last; /* where the next one is hung in */
    struct fsck_case *cases;
    bool has_own_puller;
    struct fsck_import *lost; /* images that could not be taken in: what is theirs stays */
    int64_t before_ms;        /* unknown files that changed later are no problem yet */
};

/* Adds a problem and tells it. */
struct fsck_problem *fsck_add(struct fsck *fsck, enum fsck_kind kind, const char *path,
                              const char *detail);
/* The problem is dealt with. */
void fsck_repaired(struct fsck *fsck, struct fsck_problem *problem, const char *action);

/* Every file that the catalogue says is there. */
[[nodiscard]] bool fsck_check_catalogue(struct fsck *fsck, struct error *error);
/* With `repair`: takes in the images that are described in the directory and that the catalogue
 * lost. */
[[nodiscard]] bool fsck_import(struct fsck *fsck, struct error *error);
/* Waits until the pull has ended, run by a node or by ourselves. Of *pull only state and error
 * live on. */
[[nodiscard]] bool fsck_wait_for_pull(struct fsck *fsck, const char *pull_id, struct pull *pull,
                                      struct error *error);
/* Every file that is there. */
[[nodiscard]] bool fsck_check_directory(struct fsck *fsck, struct error *error);
/* Pulls what is missing, for all cases; then looks at them again. */
[[nodiscard]] bool fsck_rebuild(struct fsck *fsck, struct error *error);

/* What fsck.erofs says of a layer or fsmeta file: *complaint is NULL when it is content, or not
 * installed. */
[[nodiscard]] bool fsck_judge(struct fsck *fsck, const struct blob_id *file, const char **complaint,
                              struct error *error);

#endif
