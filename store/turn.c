#include "store/turn.h"

#include <time.h>

enum { US_A_SECOND = 1000 * 1000 };

void turn_init(struct turn *turn)
{
    pthread_condattr_t monotonic;
    *turn = (struct turn){.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&turn->given_back, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void turn_destroy(struct turn *turn)
{
    pthread_cond_destroy(&turn->given_back);
    pthread_mutex_destroy(&turn->lock);
}

bool turn_take(struct turn *turn, int64_t until_us)
{
    const struct timespec until = {.tv_sec = until_us / US_A_SECOND,
                                   .tv_nsec = until_us % US_A_SECOND * 1000};
    int late = 0;
    pthread_mutex_lock(&turn->lock);
    while (turn->is_taken && late == 0)
        late = pthread_cond_timedwait(&turn->given_back, &turn->lock, &until);
    bool came = !turn->is_taken;
    turn->is_taken = true;
    pthread_mutex_unlock(&turn->lock);
    return came;
}

void turn_give_back(struct turn *turn)
{
    pthread_mutex_lock(&turn->lock);
    turn->is_taken = false;
    pthread_cond_signal(&turn->given_back);
    pthread_mutex_unlock(&turn->lock);
}
