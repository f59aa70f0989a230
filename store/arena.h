/* Memory that goes with a request: allocated piece by piece, freed at once.
 *
 * An arena belongs to one thread at a time. Pieces are aligned for any type and
 * live until arena_free(). Running out of memory aborts: there is no request
 * whose answer would be better.
 */
#ifndef LARDER_STORE_ARENA_H
#define LARDER_STORE_ARENA_H

#include "store/cleanup.h"

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* owned; newest first */
    size_t block_bytes;         /* of all of them */
};

/* Frees every piece; the arena may be used again. */
void arena_free(struct arena *arena);

/* As arena_free(), but keeps the memory of a usual request for the next one. */
void arena_reset(struct arena *arena);

/* `size` zeroed bytes. */
[[nodiscard]] void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));

/* An array of `count` zeroed elements; aborts when the product overflows. */
[[nodiscard]] void *arena_alloc_array(struct arena *arena, size_t count, size_t element_size)
    __attribute__((returns_nonnull));

/* A copy of the string; NULL gives NULL. */
[[nodiscard]] char *arena_strdup(struct arena *arena, const char *text);

/* A NUL-terminated copy of `length` bytes. */
[[nodiscard]] char *arena_strndup(struct arena *arena, const char *bytes, size_t length)
    __attribute__((returns_nonnull));

[[nodiscard]] char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((returns_nonnull, format(printf, 2, 3)));

#define cleanup_arena cleanup(arena_free)

#endif
