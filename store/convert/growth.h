/* How far a file is that one thread writes from front to back, told to one other that follows it.
 *
 * It is told in steps, since each wakes the follower. The writer waits when it is too far ahead:
 * how much a slow disk has still to take would otherwise have no bound, and nothing can stop a
 * thread that waits for a disk.
 */
#ifndef LARDER_STORE_CONVERT_GROWTH_H
#define LARDER_STORE_CONVERT_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

struct growth;

/* `step_bytes` is what is worth waking the follower for; `lead_bytes`, no less than that, how far
 * ahead the writer may be. Aborts when out of memory. Never freed: it lives as long as its process.
 */
[[nodiscard]] struct growth *growth_new(uint64_t step_bytes, uint64_t lead_bytes)
    __attribute__((returns_nonnull));

/* Writer: so many bytes are in the file; waits while that is too far ahead. False when the follower
 * has gone. */
[[nodiscard]] bool growth_tell(struct growth *growth, uint64_t written_bytes);

/* Writer: these are all. */
void growth_end(struct growth *growth, uint64_t size_bytes);

/* Follower: is done with `seen_bytes`, and waits until there are more, or the file has ended.
 * *written_bytes is what there is then. True when that is all. */
[[nodiscard]] bool growth_wait(struct growth *growth, uint64_t seen_bytes, uint64_t *written_bytes);

/* Follower: follows no more. What it wrote before, the writer sees after growth_tell(). */
void growth_abandon(struct growth *growth);

#endif
