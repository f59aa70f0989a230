/* One fence on its way for all loops of a node (reader.h says what a fence is). While it is, the
 * reads that come to any loop gather; the loop whose fence comes back lets the others know, and the
 * first that still has reads waiting sends the next one, for all of them. So what a fence costs is
 * shared by all that came meanwhile, on whichever loop.
 *
 *     read->came = fence_gate_count(gate);                 // when it comes
 *     if (fence_gate_enter(gate, &place, now_us, &number)) // else `wake` is called
 *         … send it; once it came back, and what changed is evicted: …
 *         fence_gate_leave(gate, number, true);
 *     if (read->came < fence_gate_passed(gate))
 *         … memory is right for this read …
 *
 * A fence that takes longer than FENCE_OVERDUE_MS holds nobody up: the next one may go. Any thread.
 */
#ifndef LARDER_SERVER_FENCE_GATE_H
#define LARDER_SERVER_FENCE_GATE_H

#include <stdbool.h>
#include <stdint.h>

enum { FENCE_OVERDUE_MS = 20 };

struct fence_gate;

/* A loop's; the gate links it while the loop waits. */
struct fence_place {
    void (*wake)(void *context); /* from any thread, under the gate's lock */
    void *context;
    bool is_waiting;
    struct fence_place *next;
};

[[nodiscard]] struct fence_gate *fence_gate_new(void);
/* NULL is fine. */
void fence_gate_free(struct fence_gate *gate);

/* How many fences were sent so far. A later one is right for who comes now. */
[[nodiscard]] uint64_t fence_gate_count(const struct fence_gate *gate);
/* The latest that has proven memory right: for all who came before it was sent. */
[[nodiscard]] uint64_t fence_gate_passed(const struct fence_gate *gate);

/* True with the number of the fence that the caller sends now, and must leave with. False: another
 * one is on its way, and `wake` is called once it is back; try again then, or when it is overdue.
 */
[[nodiscard]] bool fence_gate_enter(struct fence_gate *gate, struct fence_place *place,
                                    int64_t now_us, uint64_t *number);
void fence_gate_leave(struct fence_gate *gate, uint64_t number, bool has_proven);
/* Its `wake` is not called any more. */
void fence_gate_forget(struct fence_gate *gate, struct fence_place *place);

#endif
