/* Layers in a line-based language, converted and composed in memory, and shown the
 * same way, so that a rule's test is a table of texts.
 *
 * A layer is lines `<type> <path> [<argument>] [mode=0755] [uid=1] [gid=1]
 * [mtime=1.5] [<namespace>.<name>=<value>]…`. Types: `f` file (its content), `d`
 * directory, `l` symlink and `h` hard link (their targets), `c` character device
 * (`major:minor`), `p` fifo, `w` an empty file, for whiteouts.
 *
 * A view is lines `<path> <type> <mode> [uid:gid] [@mtime] [n<links>] [argument]
 * [attribute=value]…` in the directories' order; owner 0:0, mtime 0 and a single
 * link are left out.
 */
#ifndef LARDER_TESTS_LAYER_VIEW_H
#define LARDER_TESTS_LAYER_VIEW_H

#include "store/digest.h"
#include "store/error.h"
#include "store/layer.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes that a tar is made of, or any others. */
struct bytes {
    unsigned char *at; /* owned: free() */
    size_t size;
    size_t capacity;
};

/* The tar (PAX) of a layer's lines. */
struct bytes tar_of(const char *lines);

/* A layer file in memory, whole and checked; -1 with *error filled on failure. */
int layer_of(struct bytes tar, const struct layer_limits *limits, struct layer_result *result,
             struct error *error);

/* Limits that nothing reaches. */
extern const struct layer_limits wide_limits;

/* The merged tree of up to eight layers, NULL-terminated, or "Code: message".
 * To be freed. */
char *view_of_tars(const struct bytes *tars, size_t count);
char *view_of(const char *const *layers);

/* sha256 of everything in the file. */
struct digest digest_of_fd(int fd);

#endif
