#include "server/worker_pool.h"

#include "server/clock.h"

#include <criterion/criterion.h>
#include <semaphore.h>

struct gate {
    sem_t entered;
    sem_t opened;
};

static void wait_at(void *context)
{
    struct gate *gate = context;
    sem_post(&gate->entered);
    sem_wait(&gate->opened);
}

Test(worker_pool, a_queue_without_room_refuses_and_is_known_to_be_overloaded)
{
    struct gate gate;
    struct error error;
    sem_init(&gate.entered, 0, 0);
    sem_init(&gate.opened, 0, 0);
    struct worker_pool *pool = worker_pool_start(1, 2, &error);
    cr_assert(pool, "%s", error.message);
    cr_assert(worker_pool_submit(pool, wait_at, &gate));
    sem_wait(&gate.entered); /* the worker has it, and the queue is empty */
    cr_assert(worker_pool_submit(pool, wait_at, &gate));
    cr_assert(worker_pool_submit(pool, wait_at, &gate));
    cr_expect_not(worker_pool_is_overloaded(pool), "a queue that is full has room for all so far");
    cr_expect_not(worker_pool_submit(pool, wait_at, &gate));
    cr_expect(worker_pool_is_overloaded(pool));
    for (int i = 0; i < 3; i++)
        sem_post(&gate.opened);
    worker_pool_stop(pool);
    worker_pool_free(pool);
}

Test(worker_pool, what_waits_too_long_can_be_taken_back_though_no_worker_is_free)
{
    struct gate gate;
    struct gate late;
    struct error error;
    sem_init(&gate.entered, 0, 0);
    sem_init(&gate.opened, 0, 0);
    struct worker_pool *pool = worker_pool_start(1, 2, &error);
    cr_assert(pool, "%s", error.message);
    cr_expect_null(worker_pool_take_late(pool, INT64_MAX), "there is none");
    cr_assert(worker_pool_submit(pool, wait_at, &gate));
    sem_wait(&gate.entered);
    int64_t before_us = clock_now_us();
    cr_assert(worker_pool_submit(pool, wait_at, &late));
    cr_expect_null(worker_pool_take_late(pool, before_us), "it came after that");
    cr_expect_eq(worker_pool_take_late(pool, INT64_MAX), &late);
    cr_expect_null(worker_pool_take_late(pool, INT64_MAX), "it was the only one");
    sem_post(&gate.opened);
    worker_pool_stop(pool); /* and did not run what was taken */
    worker_pool_free(pool);
}
