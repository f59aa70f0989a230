/* How often somebody at an address was wrong of late. Each address may be wrong a few
 * times at once, and then once a second. Only those who are wrong again are slowed: who
 * shows a good token is never held up by others behind the same address.
 *
 * Memory is fixed: addresses share a table of counters by a keyed hash that nobody outside
 * can predict. Two that meet there slow each other. Any thread.
 */
#ifndef LARDER_SERVER_SLOWDOWN_H
#define LARDER_SERVER_SLOWDOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slowdown; /* opaque */

[[nodiscard]] struct slowdown *slowdown_new(void) __attribute__((returns_nonnull));
void slowdown_free(struct slowdown *slowdown);

/* Counts a failure; false when that was one too many. `now_ms` is of a clock that never
 * goes back. */
[[nodiscard]] bool slowdown_count(struct slowdown *slowdown, const void *address, size_t size,
                                  int64_t now_ms);

#endif
