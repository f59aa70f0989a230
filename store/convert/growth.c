#include "store/convert/growth.h"

#include <pthread.h>
#include <stdlib.h>

struct growth {
    uint64_t step_bytes;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t grown;
    uint64_t written_bytes;
    bool ended;
};

struct growth *growth_new(uint64_t step_bytes)
{
    struct growth *growth = calloc(1, sizeof(*growth));
    if (!growth)
        abort();
    growth->step_bytes = step_bytes;
    pthread_mutex_init(&growth->mutex, NULL);
    pthread_cond_init(&growth->grown, NULL);
    return growth;
}

static void tell(struct growth *growth, uint64_t written_bytes, bool ended)
{
    pthread_mutex_lock(&growth->mutex);
    if (ended || written_bytes >= growth->written_bytes + growth->step_bytes) {
        growth->written_bytes = written_bytes;
        growth->ended = ended;
        pthread_cond_signal(&growth->grown);
    }
    pthread_mutex_unlock(&growth->mutex);
}

void growth_tell(struct growth *growth, uint64_t written_bytes)
{
    tell(growth, written_bytes, false);
}

void growth_end(struct growth *growth, uint64_t size_bytes)
{
    tell(growth, size_bytes, true);
}

bool growth_wait(struct growth *growth, uint64_t seen_bytes, uint64_t *written_bytes)
{
    pthread_mutex_lock(&growth->mutex);
    while (growth->written_bytes <= seen_bytes && !growth->ended)
        pthread_cond_wait(&growth->grown, &growth->mutex);
    *written_bytes = growth->written_bytes;
    bool ended = growth->ended;
    pthread_mutex_unlock(&growth->mutex);
    return ended;
}
