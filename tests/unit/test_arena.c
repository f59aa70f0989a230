#include "store/arena.h"

#include <criterion/criterion.h>
#include <string.h>

/* All bytes of it are 0; then they are not. */
static void use(struct arena *arena, size_t size)
{
    unsigned char *piece = arena_alloc(arena, size);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(piece[i], 0, "byte %zu of a piece of %zu is not zeroed", i, size);
    memset(piece, 0xff, size);
}

Test(arena, pieces_are_zeroed_also_after_a_reset)
{
    struct arena arena = {0};
    for (int round = 0; round < 3; round++) {
        use(&arena, 100);
        use(&arena, 3000);
        use(&arena, 100000); /* a block of its own */
        use(&arena, 6000);   /* does not fit into the first */
        use(&arena, 1);
        arena_reset(&arena);
    }
    arena_free(&arena);
    arena_reset(&arena);
    use(&arena, 10);
    arena_free(&arena);
}

Test(arena, a_reset_keeps_the_memory_of_a_usual_request)
{
    struct arena arena = {0};
    void *first = arena_alloc(&arena, 100);
    arena_reset(&arena);
    cr_expect_eq(arena_alloc(&arena, 200), first);
    arena_free(&arena);
}
