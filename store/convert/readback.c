#include "store/convert/readback.h"

#include "store/file_digest.h"

#include <pthread.h>
#include <stdlib.h>

enum { STEP_BYTES = 1 << 20 }; /* what is worth waking the reader for */

struct readback {
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t grown;
    uint64_t written_bytes;
    bool ended;
};

struct readback *readback_new(void)
{
    struct readback *readback = calloc(1, sizeof(*readback));
    if (!readback)
        abort();
    pthread_mutex_init(&readback->mutex, NULL);
    pthread_cond_init(&readback->grown, NULL);
    return readback;
}

static void tell(struct readback *readback, uint64_t written_bytes, bool ended)
{
    pthread_mutex_lock(&readback->mutex);
    if (ended || written_bytes >= readback->written_bytes + STEP_BYTES) {
        readback->written_bytes = written_bytes;
        readback->ended = ended;
        pthread_cond_signal(&readback->grown);
    }
    pthread_mutex_unlock(&readback->mutex);
}

void readback_grow(struct readback *readback, uint64_t written_bytes)
{
    tell(readback, written_bytes, false);
}

void readback_end(struct readback *readback, uint64_t size_bytes)
{
    tell(readback, size_bytes, true);
}

/* How far it may read once there is more than `offset`; true when that is all. */
static bool wait_for_more(struct readback *readback, uint64_t offset, uint64_t *end)
{
    pthread_mutex_lock(&readback->mutex);
    while (readback->written_bytes <= offset && !readback->ended)
        pthread_cond_wait(&readback->grown, &readback->mutex);
    *end = readback->written_bytes;
    bool ended = readback->ended;
    pthread_mutex_unlock(&readback->mutex);
    return ended;
}

bool readback_run(struct readback *readback, int fd, struct digest *digest, struct error *error)
{
    cleanup_digest_state struct digest_state *state = digest_state_new();
    uint64_t offset = FILE_DIGEST_HEAD_BYTES;
    uint64_t head = 0;
    uint64_t end = 0;
    bool ended = false;
    while (!ended) {
        ended = wait_for_more(readback, offset, &end);
        if (!file_digest_read(state, fd, &offset, end, error))
            return false;
    }
    if (!file_digest_read(state, fd, &head, FILE_DIGEST_HEAD_BYTES, error))
        return false;
    *digest = digest_state_finish(state);
    return true;
}
