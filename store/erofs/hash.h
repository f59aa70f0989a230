/* The hash of the tables in this folder: FNV-1a over 8 bytes at a time, finished by
 * a multiply-shift. Not against chosen collisions: tables double, and a
 * converter's time is limited. */
#ifndef LARDER_STORE_EROFS_HASH_H
#define LARDER_STORE_EROFS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t erofs_hash(const void *bytes, size_t size, uint64_t seed)
{
    const unsigned char *at = bytes;
    uint64_t hash = seed ^ (UINT64_C(0x9E3779B97F4A7C15) * (size + 1));
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
        hash ^= hash >> 32;
    }
    uint64_t tail = 0;
    if (size > 0)
        memcpy(&tail, at, size);
    hash = (hash ^ tail) * UINT64_C(0xC4CEB9FE1A85EC53);
    return hash ^ (hash >> 29);
}

#endif
