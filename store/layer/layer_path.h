/* Paths of tar members as bytes: cleaned lexically, kept inside the root. */
#ifndef LARDER_STORE_LAYER_LAYER_PATH_H
#define LARDER_STORE_LAYER_LAYER_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing path without leading, trailing or double slashes; "" is the root.
 * Zero-initialise; free with layer_path_free(). */
struct layer_path {
    char *text; /* owned; NUL-terminated once anything was done */
    size_t length;
    size_t capacity;
    uint32_t depth; /* components */
};

void layer_path_free(struct layer_path *path);
void layer_path_clear(struct layer_path *path);
void layer_path_push(struct layer_path *path, const char *name, size_t name_size);

/* Drops the last component; false at the root. */
[[nodiscard]] bool layer_path_pop(struct layer_path *path);

/* Makes *path the cleaned form of `name`: "./a//b/../c/" is "a/c", and an absolute
 * name means the same below the root. False when ".." leads out of it. */
[[nodiscard]] bool layer_path_clean(struct layer_path *path, const char *name);

/* The component at *at and its size, moving *at behind it; NULL at the end. Skips
 * empty ones. */
[[nodiscard]] const char *layer_path_next(const char **at, size_t *size);

#endif
