#include "store/file_digest.h"

#include <errno.h>
#include <unistd.h>

enum { BUFFER_BYTES = 64 << 10 }; /* of stack; stays in a core's own cache */

bool file_digest_read(struct digest_state *state, int fd, uint64_t *offset, uint64_t end,
                      struct error *error)
{
    uint8_t buffer[BUFFER_BYTES];
    while (*offset < end) {
        uint64_t left = end - *offset;
        size_t size = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
        ssize_t got = pread(fd, buffer, size, (off_t)*offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read the file back");
        if (got == 0)
            return error_set(error, ERROR_INTERNAL, "the file ends too soon");
        digest_state_update(state, buffer, (size_t)got);
        *offset += (uint64_t)got;
    }
    return true;
}

bool file_digest_of(int fd, uint64_t size_bytes, struct digest *digest, struct error *error)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    const uint64_t head = size_bytes < FILE_DIGEST_HEAD_BYTES ? size_bytes : FILE_DIGEST_HEAD_BYTES;
    uint64_t offset = head;
    uint64_t start = 0;
    if (!file_digest_read(state, fd, &offset, size_bytes, error) ||
        !file_digest_read(state, fd, &start, head, error))
        return false;
    *digest = digest_state_finish(state);
    return true;
}
