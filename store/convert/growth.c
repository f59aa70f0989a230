#include "store/convert/growth.h"

#include <pthread.h>
#include <stdlib.h>

struct growth {
    uint64_t step_bytes;
    uint64_t lead_bytes;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t grown;
    pthread_cond_t followed;
    uint64_t written_bytes; /* as told */
    uint64_t seen_bytes;
    bool ended;
    bool abandoned;
};

struct growth *growth_new(uint64_t step_bytes, uint64_t lead_bytes)
{
    struct growth *growth = calloc(1, sizeof(*growth));
    if (!growth)
        abort();
    growth->step_bytes = step_bytes;
    growth->lead_bytes = lead_bytes;
    pthread_mutex_init(&growth->mutex, NULL);
    pthread_cond_init(&growth->grown, NULL);
    pthread_cond_init(&growth->followed, NULL);
    return growth;
}

/* The mutex is held. */
static void set_written(struct growth *growth, uint64_t written_bytes)
{
    growth->written_bytes = written_bytes;
    pthread_cond_signal(&growth->grown);
}

bool growth_tell(struct growth *growth, uint64_t written_bytes)
{
    pthread_mutex_lock(&growth->mutex);
    if (written_bytes >= growth->written_bytes + growth->step_bytes)
        set_written(growth, written_bytes);
    while (!growth->abandoned && written_bytes > growth->seen_bytes + growth->lead_bytes)
        pthread_cond_wait(&growth->followed, &growth->mutex);
    bool followed = !growth->abandoned;
    pthread_mutex_unlock(&growth->mutex);
    return followed;
}

void growth_end(struct growth *growth, uint64_t size_bytes)
{
    pthread_mutex_lock(&growth->mutex);
    growth->ended = true;
    set_written(growth, size_bytes);
    pthread_mutex_unlock(&growth->mutex);
}

bool growth_wait(struct growth *growth, uint64_t seen_bytes, uint64_t *written_bytes)
{
    pthread_mutex_lock(&growth->mutex);
    growth->seen_bytes = seen_bytes;
    pthread_cond_signal(&growth->followed);
    while (growth->written_bytes <= seen_bytes && !growth->ended)
        pthread_cond_wait(&growth->grown, &growth->mutex);
    *written_bytes = growth->written_bytes;
    bool ended = growth->ended;
    pthread_mutex_unlock(&growth->mutex);
    return ended;
}

void growth_abandon(struct growth *growth)
{
    pthread_mutex_lock(&growth->mutex);
    growth->abandoned = true;
    pthread_cond_signal(&growth->followed);
    pthread_mutex_unlock(&growth->mutex);
}
