#include "store/fsck/fsck_internal.h"

const char *fsck_kind_name(enum fsck_kind kind)
{
    static const char *const names[] = {
        [FSCK_MISSING] = "missing",
        [FSCK_WRONG_SIZE] = "wrong_size",
        [FSCK_DAMAGED] = "damaged",
        [FSCK_UNREADABLE] = "unreadable",
        [FSCK_REJECTED] = "rejected",
        [FSCK_EXTRA] = "extra",
        [FSCK_UNKNOWN_IMAGE] = "unknown_image",
        [FSCK_FOREIGN] = "foreign",
        [FSCK_STRAY] = "stray",
    };
    return names[kind];
}

struct fsck_problem *fsck_add(struct fsck *fsck, enum fsck_kind kind, const char *path,
                              const char *detail)
{
    struct fsck_problem *problem = arena_alloc(fsck->arena, sizeof(*problem));
    *problem = (struct fsck_problem){.kind = kind,
                                     .path = arena_strdup(fsck->arena, path),
                                     .detail = arena_strdup(fsck->arena, detail)};
    *fsck->last = problem;
    fsck->last = &problem->next;
    fsck->report->found++;
    return problem;
}

void fsck_repaired(struct fsck *fsck, struct fsck_problem *problem, const char *action)
{
    problem->repaired = true;
    problem->action = arena_strdup(fsck->arena, action);
    fsck->report->repaired++;
    fsck->config->tell(fsck->config->context, problem);
}

bool fsck_run(const struct fsck_config *config, struct arena *arena, struct fsck_report *report,
              struct error *error)
{
    *report = (struct fsck_report){0};
    struct fsck fsck = {
        .config = config, .arena = arena, .report = report, .last = &report->problems};
    if (!blobdir_now_ms(config->blobdir, &fsck.before_ms, error))
        return false;
    fsck.before_ms -= config->grace_seconds * 1000;
    return fsck_check_catalogue(&fsck, error) && (!config->repair || fsck_import(&fsck, error)) &&
           fsck_check_directory(&fsck, error) && (!config->repair || fsck_rebuild(&fsck, error));
}
