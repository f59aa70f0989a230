#include "server/fence_gate.h"

#include "store/cleanup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct fence_gate {
    pthread_mutex_t lock;    /* taken to change anything here */
    _Atomic uint64_t sent;   /* so many; also the number of the last one */
    _Atomic uint64_t passed; /* the highest number that has proven memory right */
    bool is_taken;           /* the last one is on its way */
    int64_t taken_us;
    struct fence_place *waiting;
};

struct fence_gate *fence_gate_new(void)
{
    struct fence_gate *gate = calloc(1, sizeof(*gate));
    if (!gate)
        abort();
    pthread_mutex_init(&gate->lock, NULL);
    return gate;
}

void fence_gate_free(struct fence_gate *gate)
{
    if (!gate)
        return;
    pthread_mutex_destroy(&gate->lock);
    free(gate);
}

uint64_t fence_gate_count(const struct fence_gate *gate)
{
    return atomic_load(&gate->sent);
}

uint64_t fence_gate_passed(const struct fence_gate *gate)
{
    return atomic_load(&gate->passed);
}

static void wait_for_turn(struct fence_gate *gate, struct fence_place *place)
{
    if (place->is_waiting)
        return;
    place->is_waiting = true;
    place->next = gate->waiting;
    gate->waiting = place;
}

bool fence_gate_enter(struct fence_gate *gate, struct fence_place *place, int64_t now_us,
                      uint64_t *number)
{
    pthread_mutex_lock(&gate->lock);
    bool enters = !gate->is_taken || now_us - gate->taken_us >= FENCE_OVERDUE_MS * 1000;
    if (enters) {
        gate->is_taken = true;
        gate->taken_us = now_us;
        *number = atomic_fetch_add(&gate->sent, 1) + 1;
    } else {
        wait_for_turn(gate, place);
    }
    pthread_mutex_unlock(&gate->lock);
    return enters;
}

void fence_gate_leave(struct fence_gate *gate, uint64_t number, bool has_proven)
{
    pthread_mutex_lock(&gate->lock);
    if (has_proven && number > atomic_load(&gate->passed))
        atomic_store(&gate->passed, number);
    if (number == atomic_load(&gate->sent))
        gate->is_taken = false;
    for (struct fence_place *place = steal(&gate->waiting), *next; place; place = next) {
        next = place->next;
        place->is_waiting = false;
        place->wake(place->context);
    }
    pthread_mutex_unlock(&gate->lock);
}

void fence_gate_forget(struct fence_gate *gate, struct fence_place *place)
{
    pthread_mutex_lock(&gate->lock);
    for (struct fence_place **slot = &gate->waiting; *slot; slot = &(*slot)->next)
        if (*slot == place) {
            *slot = place->next;
            break;
        }
    place->is_waiting = false;
    pthread_mutex_unlock(&gate->lock);
}
