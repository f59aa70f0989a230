/* A bounded queue of buffers from one thread to another: the writer fills a slot
 * in place, the reader reads it in place, and each waits for the other. One
 * writer, one reader. */
#ifndef LARDER_STORE_CONVERT_RING_H
#define LARDER_STORE_CONVERT_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RING_SLOT_BYTES = 128 << 10, /* two slots stay in a core's own cache */
    RING_SLOTS = 8,              /* 1 MiB: enough that neither thread sleeps at each slot */
};

struct ring;

/* Aborts when out of memory. Never freed: it lives as long as its process. */
[[nodiscard]] struct ring *ring_new(void) __attribute__((returns_nonnull));

/* Writer: the next slot of RING_SLOT_BYTES, once there is one. */
[[nodiscard]] uint8_t *ring_reserve(struct ring *ring) __attribute__((returns_nonnull));

/* Writer: hands over the first size_bytes (over 0) of the reserved slot. False when
 * the reader has gone; the bytes are then dropped, and more may still be written. */
bool ring_publish(struct ring *ring, size_t size_bytes);

/* Writer: nothing more comes. */
void ring_close(struct ring *ring);

/* Reader: the next piece, valid until the next call; 0 is the end. */
[[nodiscard]] size_t ring_take(struct ring *ring, const uint8_t **bytes);

/* Reader: takes no more. */
void ring_abandon(struct ring *ring);

#endif
