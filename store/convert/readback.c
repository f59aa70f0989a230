#include "store/convert/readback.h"

#include "store/file_digest.h"

bool readback_run(struct growth *growth, int fd, struct digest *digest, struct error *error)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    uint64_t offset = FILE_DIGEST_HEAD_BYTES;
    uint64_t head = 0;
    uint64_t end = 0;
    bool ended = false;
    while (!ended) {
        ended = growth_wait(growth, offset, &end);
        if (!file_digest_read(state, fd, &offset, end, error))
            return false;
    }
    if (!file_digest_read(state, fd, &head, FILE_DIGEST_HEAD_BYTES, error))
        return false;
    *digest = digest_state_finish(state);
    return true;
}
