/* The records of a PAX header (POSIX pax, "pax Extended Header"; GNU tar's manual,
 * "Sparse Formats"), looked at because libarchive forgives what it cannot read: it then
 * goes on without the record, and often without those behind it.
 */
#ifndef LARDER_STORE_LAYER_LAYER_PAX_H
#define LARDER_STORE_LAYER_LAYER_PAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pax_facts {
    const char *fault;      /* NULL, or what is wrong ("has …"), said of the member */
    bool mtime_is_negative; /* the last "mtime" begins with a minus */
    bool is_sparse;         /* its content has gaps */
    int64_t size_bytes;     /* of the stored data; -1: not said */
    const char *linkpath;   /* within the body, not NUL-terminated; NULL: not said */
    size_t linkpath_size;
};

/* Looks at the `size` bytes of a PAX header's body. */
[[nodiscard]] struct pax_facts pax_scan(const char *body, size_t size);

#endif
