/* The engines that inflate a gzip member behind its header: deflate data (RFC 1951), its
 * CRC-32 and its length (RFC 1952). ISA-L's igzip is 2 to 4 times as fast as zlib, and built
 * in unless CMake's LARDER_ISAL is off. One thread at a time for each state.
 */
#ifndef LARDER_STORE_CONVERT_DEFLATE_H
#define LARDER_STORE_CONVERT_DEFLATE_H

#include "store/convert/inflate.h"

struct deflate_engine {
    const char *name; /* "igzip" */
    /* A state, which close() frees; aborts when out of memory. */
    void *(*open)(void);
    void (*close)(void *state);
    /* To the first byte behind a member's header. */
    void (*reset)(void *state);
    /* Goes on as far as input and room reach; *ended at the member's end. NULL, or what is
     * wrong with the member. */
    const char *(*step)(void *state, struct inflate_buffers *buffers, bool *ended);
};

/* Those that are built in, the best first, NULL behind the last. */
extern const struct deflate_engine *const deflate_engines[];

extern const struct deflate_engine deflate_zlib;
#ifdef LARDER_ISAL
extern const struct deflate_engine deflate_igzip;
#endif

/* Moves the buffers on. */
static inline void deflate_consume(struct inflate_buffers *buffers, size_t in_bytes,
                                   size_t out_bytes)
{
    buffers->in += in_bytes;
    buffers->in_bytes -= in_bytes;
    buffers->out += out_bytes;
    buffers->out_bytes -= out_bytes;
}

/* Both libraries count in 32 bits. */
static inline uint32_t deflate_room(size_t bytes)
{
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

#endif
