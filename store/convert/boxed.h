/* The process's side of a box (box.h): its main(), and what it is given. */
#ifndef LARDER_STORE_CONVERT_BOXED_H
#define LARDER_STORE_CONVERT_BOXED_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>

/* The main() of `larder COMMAND`: does the work with the channel, which begins with a struct
 * box_outcome, reports what came of it there, and exits. Returns 2 when no node has started it. */
[[nodiscard]] int boxed_main(int argc, const char *command, size_t channel_size_bytes,
                             bool (*work)(void *channel, struct error *error));

/* The next open files that the node hands over; waits for them. Before the process is sealed. */
[[nodiscard]] bool boxed_take_files(int *fds, size_t count, struct error *error);

#endif
