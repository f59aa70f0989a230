/* A turn: a mutex that is waited for until a moment. (pthread_mutex_clocklock() is that too, but
 * GCC 12's ThreadSanitizer does not know it.) Any thread.
 */
#ifndef LARDER_STORE_TURN_H
#define LARDER_STORE_TURN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct turn {
    pthread_mutex_t lock; /* guards is_taken, and is held for no longer */
    pthread_cond_t given_back;
    bool is_taken;
};

void turn_init(struct turn *turn);
/* Nobody has it or waits for it. */
void turn_destroy(struct turn *turn);

/* Waits for it until then, of metric_now_us(); false when it did not come. */
[[nodiscard]] bool turn_take(struct turn *turn, int64_t until_us);
void turn_give_back(struct turn *turn);

#endif
