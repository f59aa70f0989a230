#include "store/blob_mark.h"

#include "store/blobdir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static const char mark_name[] = "larder.id";

bool blob_mark_read(struct blobdir *blobdir, struct blob_mark *mark, bool *marked,
                    struct error *error)
{
    *marked = false;
    cleanup_fd int fd = openat(blobdir->fd, mark_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ||
               error_set_errno(error, ERROR_INTERNAL, errno,
                               "cannot open \"%s\" in the blob directory", mark_name);
    char text[256];
    ssize_t size = read(fd, text, sizeof(text) - 1);
    if (size < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read \"%s\"", mark_name);
    text[size] = '\0';
    *marked = sscanf(text, "catalogue %36[0-9a-f-]\ndirectory %36[0-9a-f-]\n", mark->catalogue_id,
                     mark->directory_id) == 2;
    return *marked || error_set(error, ERROR_INTERNAL,
                                "\"%s\" in the blob directory is none of Larder's", mark_name);
}

static bool fill(int fd, const struct blob_mark *mark, struct error *error)
{
    int size = dprintf(fd, "catalogue %s\ndirectory %s\n", mark->catalogue_id, mark->directory_id);
    return (size > 0 && fchmod(fd, 0644) == 0 && fsync(fd) == 0) ||
           error_set_errno(error, ERROR_INTERNAL, errno, "cannot write \"%s\"", mark_name);
}

bool blob_mark_write(struct blobdir *blobdir, const struct blob_mark *mark, bool replace,
                     struct error *error)
{
    struct blob_draft *draft = blob_scratch_new(blobdir, error);
    if (!draft)
        return false;
    bool written = fill(blob_draft_fd(draft), mark, error);
    if (written) {
        const char *from = blob_draft_name(draft);
        /* link(2) leaves what is there alone, and is as atomic as rename(2), also on NFS. */
        int failed = replace ? renameat(blobdir->tmp_fd, from, blobdir->fd, mark_name)
                             : linkat(blobdir->tmp_fd, from, blobdir->fd, mark_name, 0);
        written = failed == 0 || (!replace && errno == EEXIST) ||
                  error_set_errno(error, ERROR_INTERNAL, errno,
                                  "cannot make \"%s\" in the blob directory", mark_name);
    }
    blob_draft_free(draft);
    return written && blobdir_sync_fd(blobdir->fd, "the blob directory", error);
}
