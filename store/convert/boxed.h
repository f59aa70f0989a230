/* The process's side of a box (box.h): what it is given. For the main() of a boxed process, before
 * it is sealed.
 */
#ifndef LARDER_STORE_CONVERT_BOXED_H
#define LARDER_STORE_CONVERT_BOXED_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Our mapping of the channel, or NULL when there is none. */
[[nodiscard]] void *boxed_map_channel(size_t channel_size_bytes);

/* The next open files that the node hands over; waits for them. */
[[nodiscard]] bool boxed_take_files(int *fds, size_t count, struct error *error);

#endif
