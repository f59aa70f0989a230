/* One thing that libarchive loses: the sign of a PAX time between -1 and 0 seconds. */
#ifndef LARDER_STORE_LAYER_LAYER_PAX_H
#define LARDER_STORE_LAYER_LAYER_PAX_H

#include <stdbool.h>
#include <stddef.h>

/* Given a tar's raw bytes from a member's first (extension) header on: whether the
 * last "mtime" of its PAX headers begins with a minus. False when cut short. */
[[nodiscard]] bool pax_mtime_is_negative(const unsigned char *bytes, size_t size_bytes);

#endif
