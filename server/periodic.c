#include "server/periodic.h"

#include "server/clock.h"

#include <pthread.h>
#include <stdlib.h>

struct periodic {
    periodic_work *work;
    void *context;
    pthread_t thread;
    atomic_bool stopping; /* read without the mutex by the work; set with it */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* stopping */
};

/* False when it is time to stop. */
static bool rest(struct periodic *periodic, unsigned ms)
{
    struct timespec at = clock_after_ms(ms);
    pthread_mutex_lock(&periodic->mutex);
    int late = 0;
    while (!atomic_load(&periodic->stopping) && late == 0)
        late = pthread_cond_timedwait(&periodic->changed, &periodic->mutex, &at);
    pthread_mutex_unlock(&periodic->mutex);
    return !atomic_load(&periodic->stopping);
}

static void *run(void *argument)
{
    struct periodic *periodic = argument;
    while (rest(periodic, periodic->work(periodic->context, &periodic->stopping)))
        continue;
    return NULL;
}

struct periodic *periodic_start(const char *name, periodic_work *work, void *context,
                                struct error *error)
{
    struct periodic *periodic = calloc(1, sizeof(*periodic));
    if (!periodic)
        abort();
    periodic->work = work;
    periodic->context = context;
    pthread_mutex_init(&periodic->mutex, NULL);
    clock_cond_init(&periodic->changed);
    int failed = pthread_create(&periodic->thread, NULL, run, periodic);
    if (!failed)
        return periodic;
    error_set_errno(error, ERROR_INTERNAL, failed, "%s's thread does not start", name);
    free(periodic);
    return NULL;
}

void periodic_stop(struct periodic *periodic)
{
    if (!periodic)
        return;
    pthread_mutex_lock(&periodic->mutex);
    atomic_store(&periodic->stopping, true);
    pthread_cond_signal(&periodic->changed);
    pthread_mutex_unlock(&periodic->mutex);
    pthread_join(periodic->thread, NULL);
    pthread_cond_destroy(&periodic->changed);
    pthread_mutex_destroy(&periodic->mutex);
    free(periodic);
}
