#include "store/convert/growth.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* A growth is never freed, so what holds it may not go: hence the static ones. */
enum { STEP = 10, LEAD = 25, SIZE = 1000 };

TestSuite(growth, .timeout = 60);

struct writer {
    struct growth *growth;
    _Atomic uint64_t written_bytes;
    uint64_t stopped_at; /* where the follower had gone */
    pthread_t thread;
};

static void *write_byte_by_byte(void *context)
{
    struct writer *writer = context;
    while (writer->written_bytes < SIZE) {
        writer->written_bytes++;
        if (!growth_tell(writer->growth, writer->written_bytes)) {
            writer->stopped_at = writer->written_bytes;
            return NULL;
        }
    }
    growth_end(writer->growth, SIZE);
    return NULL;
}

static void start(struct writer *writer)
{
    writer->growth = growth_new(STEP, LEAD);
    cr_assert_eq(pthread_create(&writer->thread, NULL, write_byte_by_byte, writer), 0);
}

/* Until the writer waits; it would run on while we nap. */
static void let_it_run(const struct writer *writer, uint64_t seen_bytes)
{
    uint64_t most = seen_bytes + LEAD + 1 < SIZE ? seen_bytes + LEAD + 1 : SIZE;
    struct timespec pause = {.tv_nsec = 1000 * 1000};
    while (writer->written_bytes < most)
        nanosleep(&pause, NULL);
    nanosleep(&pause, NULL);
    cr_expect_eq(writer->written_bytes, most);
}

Test(growth, the_writer_waits_for_its_follower_and_comes_to_the_end)
{
    static struct writer writer;
    start(&writer);
    uint64_t seen = 0;
    uint64_t written = 0;
    while (!growth_wait(writer.growth, seen, &written)) {
        cr_assert_geq(written, seen + STEP);
        let_it_run(&writer, seen);
        seen = written;
    }
    pthread_join(writer.thread, NULL);
    cr_expect_eq(written, SIZE);
}

Test(growth, a_writer_that_waits_is_told_that_its_follower_has_gone)
{
    static struct writer writer;
    start(&writer);
    let_it_run(&writer, 0);
    growth_abandon(writer.growth);
    pthread_join(writer.thread, NULL);
    cr_expect_eq(writer.stopped_at, LEAD + 1);
}

Test(growth, a_follower_that_waits_is_told_of_an_end_that_is_less_than_a_step)
{
    static struct growth *growth;
    growth = growth_new(STEP, LEAD);
    cr_expect(growth_tell(growth, STEP - 1));
    growth_end(growth, STEP - 1);
    uint64_t written = 0;
    cr_expect(growth_wait(growth, 0, &written));
    cr_expect_eq(written, STEP - 1);
}
