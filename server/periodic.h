/* A thread that does one piece of work, rests, and does it again, until it is stopped. */
#ifndef LARDER_SERVER_PERIODIC_H
#define LARDER_SERVER_PERIODIC_H

#include "store/error.h"

#include <stdatomic.h>

struct periodic;

/* Does the work once, on the thread, and says how many milliseconds to rest after it. When
 * *stopping turns true it is to end early. */
typedef unsigned periodic_work(void *context, const atomic_bool *stopping);

/* Begins at once. `name` is for the error, as "The sweeper"; the context outlives the thread. */
[[nodiscard]] struct periodic *periodic_start(const char *name, periodic_work *work, void *context,
                                              struct error *error);

/* Ends the work or the rest, joins, frees. NULL is fine. */
void periodic_stop(struct periodic *periodic);

#endif
