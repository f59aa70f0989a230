#include "server/worker_pool.h"

#include "server/clock.h"
#include "store/cleanup.h"

#include <pthread.h>
#include <stdatomic.h>

enum { OVERLOAD_LASTS_US = 1000 * 1000 };

struct job {
    void (*run)(void *context);
    void *context;
    int64_t submitted_us;
};

struct worker_pool {
    _Atomic int64_t was_full_us; /* when there was no room, last; 0: never */
    pthread_mutex_t lock;        /* guards all below but `threads` */
    pthread_cond_t queued;
    struct job *queue; /* a ring of `limit` jobs */
    size_t limit;
    size_t first;
    size_t count;
    bool stopping;
    /* of who starts and stops it */
    pthread_t *threads;
    size_t thread_count;
};

/* With the lock, when there is one. */
static struct job take_first(struct worker_pool *pool)
{
    struct job job = pool->queue[pool->first];
    pool->first = (pool->first + 1) % pool->limit;
    pool->count--;
    return job;
}

static bool take_job(struct worker_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->count == 0 && !pool->stopping)
        pthread_cond_wait(&pool->queued, &pool->lock);
    bool taken = pool->count > 0;
    if (taken)
        *job = take_first(pool);
    pthread_mutex_unlock(&pool->lock);
    return taken;
}

void *worker_pool_take_late(struct worker_pool *pool, int64_t before_us)
{
    struct job job = {0};
    pthread_mutex_lock(&pool->lock);
    if (pool->count > 0 && pool->queue[pool->first].submitted_us < before_us)
        job = take_first(pool);
    pthread_mutex_unlock(&pool->lock);
    return job.context;
}

static void *work(void *argument)
{
    struct worker_pool *pool = argument;
    struct job job;
    while (take_job(pool, &job))
        job.run(job.context);
    return NULL;
}

struct worker_pool *worker_pool_start(size_t thread_count, size_t queue_limit, struct error *error)
{
    struct worker_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        abort();
    pool->limit = queue_limit;
    pool->queue = calloc(queue_limit, sizeof(*pool->queue));
    pool->threads = calloc(thread_count, sizeof(*pool->threads));
    if (!pool->queue || !pool->threads)
        abort();
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->queued, NULL);
    for (; pool->thread_count < thread_count; pool->thread_count++) {
        int failed = pthread_create(&pool->threads[pool->thread_count], NULL, work, pool);
        if (failed) {
            error_set_errno(error, ERROR_INTERNAL, failed, "A worker thread does not start");
            worker_pool_stop(pool);
            worker_pool_free(pool);
            return NULL;
        }
    }
    return pool;
}

bool worker_pool_submit(struct worker_pool *pool, void (*run)(void *context), void *context)
{
    int64_t now_us = clock_now_us();
    pthread_mutex_lock(&pool->lock);
    bool fits = pool->count < pool->limit && !pool->stopping;
    if (fits) {
        pool->queue[(pool->first + pool->count) % pool->limit] = (struct job){run, context, now_us};
        pool->count++;
        pthread_cond_signal(&pool->queued);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!fits)
        atomic_store(&pool->was_full_us, now_us);
    return fits;
}

bool worker_pool_is_overloaded(const struct worker_pool *pool)
{
    int64_t was_full_us = atomic_load(&pool->was_full_us);
    return was_full_us != 0 && clock_now_us() - was_full_us < OVERLOAD_LASTS_US;
}

void worker_pool_stop(struct worker_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->queued);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pool->thread_count = 0;
}

void worker_pool_free(struct worker_pool *pool)
{
    if (!pool)
        return;
    pthread_cond_destroy(&pool->queued);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool->queue);
    free(pool);
}
