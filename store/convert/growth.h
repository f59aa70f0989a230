/* How far a file is that one thread writes from front to back, told to one other that follows it.
 *
 * It is told in steps, since each wakes the follower.
 */
#ifndef LARDER_STORE_CONVERT_GROWTH_H
#define LARDER_STORE_CONVERT_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

struct growth;

/* `step_bytes` is what is worth waking the follower for. Aborts when out of memory. Never freed: it
 * lives as long as its process. */
[[nodiscard]] struct growth *growth_new(uint64_t step_bytes) __attribute__((returns_nonnull));

/* Writer: so many bytes are in the file. */
void growth_tell(struct growth *growth, uint64_t written_bytes);

/* Writer: these are all. */
void growth_end(struct growth *growth, uint64_t size_bytes);

/* Follower: waits until there are more than `seen_bytes`, or the file has ended. *written_bytes is
 * what there is then. True when that is all. */
[[nodiscard]] bool growth_wait(struct growth *growth, uint64_t seen_bytes, uint64_t *written_bytes);

#endif
