/* The hash of the tables in this folder: each 8 bytes are folded in by a multiplication
 * whose factor is drawn when the process starts, so that a tar's author cannot choose
 * names that collide. Nothing that is written may depend on it. */
#ifndef LARDER_STORE_EROFS_HASH_H
#define LARDER_STORE_EROFS_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Drawn before main(); odd. */
extern uint64_t erofs_hash_key[2];

static inline uint64_t erofs_hash_fold(uint64_t one, uint64_t other)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t erofs_hash(const void *bytes, size_t size, uint64_t seed)
{
    const unsigned char *at = bytes;
    uint64_t hash = erofs_hash_fold(seed ^ erofs_hash_key[0], erofs_hash_key[1]) + size;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = erofs_hash_fold(hash ^ word, erofs_hash_key[1]);
    }
    uint64_t tail = 0;
    if (size > 0)
        memcpy(&tail, at, size);
    return erofs_hash_fold(hash ^ tail, erofs_hash_key[0]);
}

#endif
