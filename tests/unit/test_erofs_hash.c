#include "store/erofs/hash.h"

#include <criterion/criterion.h>

enum { PAIRS = 10, NAMES = 1 << PAIRS, NAME_SIZE = PAIRS * 16 };

/* Flips the bits that a multiplication by any odd factor and a shift by 32 turn into
 * each other: with constant factors these names would all collide. */
static void make_name(unsigned choices, unsigned char name[NAME_SIZE])
{
    memset(name, 'a', NAME_SIZE);
    for (unsigned i = 0; i < PAIRS; i++)
        if (choices & 1U << i) {
            name[16 * i + 7] ^= 0x80;
            name[16 * i + 11] ^= 0x80;
            name[16 * i + 15] ^= 0x80;
        }
}

static int compare(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one;
    uint64_t b = *(const uint64_t *)other;
    return a < b ? -1 : a > b;
}

Test(erofs_hash, names_chosen_to_collide_do_not)
{
    static uint64_t hashes[NAMES];
    for (unsigned i = 0; i < NAMES; i++) {
        unsigned char name[NAME_SIZE];
        make_name(i, name);
        hashes[i] = erofs_hash(name, sizeof(name), 1);
    }
    qsort(hashes, NAMES, sizeof(hashes[0]), compare);
    for (unsigned i = 1; i < NAMES; i++)
        cr_assert_neq(hashes[i - 1], hashes[i], "two of %d names have one hash", NAMES);
}

Test(erofs_hash, the_seed_the_size_and_every_byte_count)
{
    static const char name[] = "usr/share/doc/libc6\0";
    uint64_t hash = erofs_hash(name, 19, 1);
    cr_expect_eq(erofs_hash(name, 19, 1), hash, "the same gives the same");
    cr_expect_neq(erofs_hash(name, 19, 2), hash, "another seed gives another hash");
    cr_expect_neq(erofs_hash(name, 20, 1), hash, "a NUL more gives another hash");
    cr_expect_neq(erofs_hash(name + 1, 19, 1), hash, "other bytes give another hash");
}
