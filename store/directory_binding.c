#include "store/directory_binding.h"

#include "store/blob_mark.h"
#include "store/catalogue/directory.h"

#include <stdio.h>
#include <string.h>

#define ADOPT "`larder fsck --adopt-directory` makes this directory the catalogue's"

static bool refuse_another_catalogue(const char *path, bool is_bound, struct error *error)
{
    return error_set(error, ERROR_INTERNAL,
                     "the blob directory \"%s\" belongs to another catalogue: look at --database "
                     "and --blob-dir. If that catalogue is lost, %s",
                     path,
                     is_bound ? ADOPT : "`larder fsck --repair` takes its images into this one");
}

static bool refuse_another_directory(const char *path, bool is_marked, struct error *error)
{
    return error_set(error, ERROR_INTERNAL,
                     "the blob directory \"%s\" is not the one of this catalogue%s: is the shared "
                     "directory mounted there? If the old one is lost, " ADOPT,
                     path, is_marked ? "" : ", it has no mark");
}

static bool mark(struct blobdir *blobdir, const char *catalogue_id, const char *directory_id,
                 bool replace, struct error *error)
{
    struct blob_mark mark;
    snprintf(mark.catalogue_id, sizeof(mark.catalogue_id), "%s", catalogue_id);
    snprintf(mark.directory_id, sizeof(mark.directory_id), "%s", directory_id);
    return blob_mark_write(blobdir, &mark, replace, error);
}

/* The mark names this catalogue; does the catalogue name this directory? */
static bool compare(struct catalogue *catalogue, const struct blob_mark *mark, const char *path,
                    bool force, struct arena *arena, struct error *error)
{
    const char *directory_id = NULL;
    if (!catalogue_bind_directory(catalogue, mark->directory_id, force, arena, &directory_id,
                                  error))
        return false;
    return strcmp(directory_id, mark->directory_id) == 0 ||
           refuse_another_directory(path, true, error);
}

bool directory_bind(struct catalogue *catalogue, struct blobdir *blobdir, const char *path,
                    enum directory_claim claim, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct catalogue_identity ours;
    struct blob_mark found;
    bool marked = false;
    if (!catalogue_identify(catalogue, &arena, &ours, error) ||
        !blob_mark_read(blobdir, &found, &marked, error))
        return false;
    bool is_bound = ours.directory_id;
    bool is_ours = marked && strcmp(found.catalogue_id, ours.id) == 0 &&
                   (!is_bound || strcmp(found.directory_id, ours.directory_id) == 0);
    if (claim == DIRECTORY_LOOK && (is_ours || !is_bound))
        return true;
    bool may_take = claim == DIRECTORY_ADOPT || (!is_bound && claim == DIRECTORY_TAKE_OVER);
    if (!is_ours) {
        if (marked && !may_take)
            return strcmp(found.catalogue_id, ours.id) != 0
                       ? refuse_another_catalogue(path, is_bound, error)
                       : refuse_another_directory(path, true, error);
        if (!marked && is_bound && !may_take)
            return refuse_another_directory(path, false, error);
        /* Another node may mark it at this moment: what counts is what stands there then. */
        if (!mark(blobdir, ours.id, ours.new_id, marked, error) ||
            !blob_mark_read(blobdir, &found, &marked, error))
            return false;
    }
    if (strcmp(found.catalogue_id, ours.id) != 0)
        return refuse_another_catalogue(path, is_bound, error);
    return compare(catalogue, &found, path, claim == DIRECTORY_ADOPT, &arena, error);
}
