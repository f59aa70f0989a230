#include "server/worker_pool.h"

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
}
