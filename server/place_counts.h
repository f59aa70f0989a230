/* How many connections each place has open (peer.h). Not thread-safe: under the lock of who
 * holds it. */
#ifndef LARDER_SERVER_PLACE_COUNTS_H
#define LARDER_SERVER_PLACE_COUNTS_H

#include "server/peer.h"

#include <stddef.h>

enum { PLACE_BUCKETS = 256 };

struct place_count;
struct place_counts {
    struct place_count *buckets[PLACE_BUCKETS]; /* owned */
};

/* One more from there; how many there are now. Root and our own user are at no place: always 0.
 */
size_t place_counts_add(struct place_counts *counts, const struct peer *peer);
/* One less. */
void place_counts_remove(struct place_counts *counts, const struct peer *peer);

#endif
