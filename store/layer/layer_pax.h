/* What libarchive loses or forgives in PAX headers: the sign of a time between -1 and
 * 0 seconds, records of a wrong length, and what follows a NUL in a name.
 */
#ifndef LARDER_STORE_LAYER_LAYER_PAX_H
#define LARDER_STORE_LAYER_LAYER_PAX_H

#include <stdbool.h>
#include <stddef.h>

struct pax_facts {
    bool mtime_is_negative; /* the last "mtime" begins with a minus */
    const char *fault;      /* NULL, or why the member cannot be what it says */
};

/* Given a tar's raw bytes from a member's first (extension) header on. What is cut
 * short is not looked at. */
[[nodiscard]] struct pax_facts pax_scan(const unsigned char *bytes, size_t size_bytes);

#endif
