#include "store/erofs/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    BLOCK_SIZE = 4096,
    BUFFER_SIZE = 256 * 1024,
    DIRECT_SIZE = 32 * 1024,          /* from here on a copy costs more than a system call */
    SYNC_INTERVAL = 16 * 1024 * 1024, /* about 30 ms of writing */
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

/* Only a hint: a filesystem that cannot do it loses nothing but time. */
static void start_write_back(struct erofs_output *output)
{
    uint64_t size = output->flushed - output->synced;
    if (size < SYNC_INTERVAL)
        return;
    int saved = errno;
    (void)sync_file_range(output->fd, (off_t)output->synced, (off_t)size, SYNC_FILE_RANGE_WRITE);
    errno = saved;
    output->synced = output->flushed;
}

/* Drops the first `size` bytes from the two pieces. */
static void advance(struct iovec pieces[2], size_t size)
{
    for (int i = 0; i < 2; i++) {
        size_t taken = size < pieces[i].iov_len ? size : pieces[i].iov_len;
        if (taken > 0) /* an empty piece may be NULL */
            pieces[i].iov_base = (char *)pieces[i].iov_base + taken;
        pieces[i].iov_len -= taken;
        size -= taken;
    }
}

/* The buffer and then `bytes`, in one system call where possible. */
static bool flush_with(struct erofs_output *output, const void *bytes, size_t size,
                       struct error *error)
{
    struct iovec pieces[2] = {
        {.iov_base = output->buffer, .iov_len = output->used},
        {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size},
    };
    output->used = 0;
    while (pieces[0].iov_len + pieces[1].iov_len > 0) {
        ssize_t written = pwritev(output->fd, pieces, 2, (off_t)output->flushed);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return error_set_errno(error, ERROR_INTERNAL, written < 0 ? errno : EIO,
                                   "cannot write the EROFS file");
        output->flushed += (uint64_t)written;
        advance(pieces, (size_t)written);
    }
    start_write_back(output);
    return true;
}

static bool within_limit(const struct erofs_output *output, uint64_t size, struct error *error)
{
    uint64_t offset = erofs_output_offset(output);
    if (offset <= output->limit_bytes && size <= output->limit_bytes - offset)
        return true;
    return error_set(error, ERROR_LAYER_TOO_LARGE,
                     "the EROFS file would be larger than the limit of %" PRIu64 " bytes",
                     output->limit_bytes);
}

/* Large pieces go out without a copy, in whole blocks: the page cache takes those
 * faster, and the rest waits in the buffer for what follows. */
static bool write_large(struct erofs_output *output, const unsigned char *bytes, size_t size,
                        struct error *error)
{
    size_t rest = (size_t)((erofs_output_offset(output) + size) % BLOCK_SIZE);
    if (!flush_with(output, bytes, size - rest, error))
        return false;
    memcpy(output->buffer, bytes + size - rest, rest);
    output->used = rest;
    return true;
}

bool erofs_output_write(struct erofs_output *output, const void *bytes, size_t size_bytes,
                        struct error *error)
{
    if (!within_limit(output, size_bytes, error))
        return false;
    if (size_bytes >= DIRECT_SIZE)
        return write_large(output, bytes, size_bytes, error);
    if (size_bytes > BUFFER_SIZE - output->used && !flush_with(output, NULL, 0, error))
        return false;
    if (size_bytes > 0)
        memcpy(output->buffer + output->used, bytes, size_bytes);
    output->used += size_bytes;
    return true;
}

bool erofs_output_skip(struct erofs_output *output, uint64_t size_bytes, struct error *error)
{
    if (!within_limit(output, size_bytes, error))
        return false;
    if (size_bytes > sizeof(zeros)) {
        if (!flush_with(output, NULL, 0, error))
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
    if (!flush_with(output, NULL, 0, error))
        return false;
    if (ftruncate(output->fd, (off_t)output->flushed) != 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot size the EROFS file");
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
