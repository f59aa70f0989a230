/* Makes the layer file durable while it is written, so that the fsync at its end has milliseconds
 * to wait for. Write-back alone is not enough for that: a disk takes writes into a cache of its
 * own, and how long it takes to empty that grows with what came since the last time.
 */
#ifndef LARDER_STORE_CONVERT_FLUSH_H
#define LARDER_STORE_CONVERT_FLUSH_H

#include "store/convert/growth.h"
#include "store/error.h"

enum { FLUSH_STEP_BYTES = 32 << 20 }; /* of the growth that it follows */

/* Flushes at each step, and returns when the file has ended; what came last is the owner's to
 * flush. An error counts also if a later flush succeeds: the kernel tells it but once for all who
 * share the open file, and the owner's fsync would not hear of it. */
[[nodiscard]] bool flush_run(struct growth *growth, int fd, struct error *error);

#endif
