/* The rootfs source of a sandbox, as a request gives it (design: "Shapes"). */
#ifndef LARDER_SERVER_ROOTFS_H
#define LARDER_SERVER_ROOTFS_H

#include "store/arena.h"
#include "store/error.h"
#include "store/reference.h"

#include <jansson.h>

struct rootfs {
    bool is_oci;
    struct reference reference; /* when is_oci */
    const char *json;           /* the source with all its fields, in the arena */
};

/* Fails with ERROR_INVALID_ARGUMENT or ERROR_INVALID_REFERENCE. */
[[nodiscard]] bool rootfs_read(json_t *object, struct arena *arena, struct rootfs *rootfs,
                               struct error *error);

#endif
