#include "store/erofs/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The buffer ends at a multiple of its size in the file: the page cache takes such writes
 * in large folios, which saves a fifth of the whole conversion. Copying into it costs
 * next to nothing while it stays in a core's own cache. */
enum {
#ifdef LARDER_FUZZ /* the small files of a fuzzer reach its end, and it costs no mapping */
    BUFFER_SIZE = 16 * 1024,
#else
    BUFFER_SIZE = 128 * 1024,
#endif
};

static const unsigned char zeros[4096];

void erofs_output_open(struct erofs_output *output, int fd, uint64_t limit_bytes)
{
    *output = (struct erofs_output){.fd = fd, .limit_bytes = limit_bytes};
    output->buffer = malloc(BUFFER_SIZE);
    if (!output->buffer)
        abort();
}

void erofs_output_close(struct erofs_output *output)
{
    free(output->buffer);
    output->buffer = NULL;
}

static bool flush(struct erofs_output *output, struct error *error)
{
    for (size_t done = 0; done < output->used;) {
        ssize_t written = pwrite(output->fd, output->buffer + done, output->used - done,
                                 (off_t)(output->flushed + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return error_set_errno(error, ERROR_INTERNAL, written < 0 ? errno : EIO,
                                   "cannot write the EROFS file");
        done += (size_t)written;
    }
    output->flushed += output->used;
    output->used = 0;
    return true;
}

bool erofs_output_has_room(const struct erofs_output *output, uint64_t size, struct error *error)
{
    uint64_t offset = erofs_output_offset(output);
    if (offset <= output->limit_bytes && size <= output->limit_bytes - offset)
        return true;
    return error_set(error, ERROR_LAYER_TOO_LARGE,
                     "the EROFS file would be larger than the limit of %" PRIu64 " bytes",
                     output->limit_bytes);
}

static size_t room(const struct erofs_output *output)
{
    return BUFFER_SIZE - output->flushed % BUFFER_SIZE - output->used;
}

bool erofs_output_write(struct erofs_output *output, const void *bytes, size_t size_bytes,
                        struct error *error)
{
    if (!erofs_output_has_room(output, size_bytes, error))
        return false;
    const unsigned char *next = bytes;
    while (size_bytes > 0) {
        size_t left = room(output);
        size_t size = size_bytes < left ? size_bytes : left;
        memcpy(output->buffer + output->used, next, size);
        output->used += size;
        next += size;
        size_bytes -= size;
        if (size == left && !flush(output, error))
            return false;
    }
    return true;
}

bool erofs_output_skip(struct erofs_output *output, uint64_t size_bytes, struct error *error)
{
    if (!erofs_output_has_room(output, size_bytes, error))
        return false;
    if (size_bytes > sizeof(zeros)) {
        if (!flush(output, error))
            return false;
        output->flushed += size_bytes;
        return true;
    }
    return erofs_output_write(output, zeros, (size_t)size_bytes, error);
}

bool erofs_output_align(struct erofs_output *output, uint64_t alignment, struct error *error)
{
    return erofs_output_skip(output, -erofs_output_offset(output) & (alignment - 1), error);
}

bool erofs_output_finish(struct erofs_output *output, struct error *error)
{
    if (!flush(output, error))
        return false;
    if (ftruncate(output->fd, (off_t)output->flushed) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot size the EROFS file");
    /* Only a hint: a filesystem that cannot do it loses nothing but time. */
    (void)sync_file_range(output->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return true;
}

bool erofs_output_write_start(struct erofs_output *output, const void *bytes, size_t size_bytes,
                              struct error *error)
{
    for (size_t done = 0; done < size_bytes;) {
        ssize_t written =
            pwrite(output->fd, (const char *)bytes + done, size_bytes - done, (off_t)done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return error_set_errno(error, ERROR_INTERNAL, written < 0 ? errno : EIO,
                                   "cannot write the superblock");
        done += (size_t)written;
    }
    return true;
}
