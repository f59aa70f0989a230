#include "store/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_SIZE = 8192 - 64 }; /* leaves room for malloc's own header in two pages */

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) unsigned char bytes[];
};

void arena_free(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    arena->block_bytes = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *kept = NULL;
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        if (block->size == BLOCK_SIZE && !kept)
            kept = block;
        else
            free(block);
    }
    arena->block_bytes = kept ? kept->size : 0;
    if (!kept)
        return;
    memset(kept->bytes, 0, kept->used);
    kept->used = 0;
    kept->next = NULL;
    arena->blocks = kept;
}

static struct arena_block *block_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct arena_block))
        abort();
    struct arena_block *block = calloc(1, sizeof(*block) + size);
    if (!block)
        abort();
    block->size = size;
    return block;
}

static struct arena_block *arena_block_for(struct arena *arena, size_t size)
{
    struct arena_block *newest = arena->blocks;
    if (newest && newest->size - newest->used >= size)
        return newest;
    struct arena_block *block = block_new(size > BLOCK_SIZE ? size : BLOCK_SIZE);
    block->next = newest;
    arena->blocks = block;
    arena->block_bytes += block->size;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t alignment = alignof(max_align_t);
    if (size > SIZE_MAX - alignment)
        abort();
    size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    struct arena_block *block = arena_block_for(arena, rounded);
    void *piece = block->bytes + block->used;
    block->used += rounded;
    return piece;
}

void *arena_alloc_array(struct arena *arena, size_t count, size_t element_size)
{
    size_t size = 0;
    if (__builtin_mul_overflow(count, element_size, &size))
        abort();
    return arena_alloc(arena, size);
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return text ? arena_strndup(arena, text, strlen(text)) : NULL;
}

char *arena_strndup(struct arena *arena, const char *bytes, size_t length)
{
    if (length == SIZE_MAX)
        abort();
    char *copy = arena_alloc(arena, length + 1);
    if (length > 0)
        memcpy(copy, bytes, length);
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = NULL;
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort();
    char *copy = arena_strndup(arena, text, (size_t)length);
    free(text);
    return copy;
}
