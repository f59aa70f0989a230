#include "store/convert/ring.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

struct ring {
    pthread_mutex_t mutex;  /* guards what follows, up to the slots' bytes */
    pthread_cond_t changed; /* a slot was published or freed, or an end has gone */
    size_t taken;           /* slots that the reader is done with, ever */
    size_t published;       /* slots handed over, ever; at most RING_SLOTS more than taken */
    bool closed;            /* by the writer */
    bool abandoned;         /* by the reader */
    bool reading;           /* the slot after `taken` is with the reader */
    size_t sizes[RING_SLOTS];
    uint8_t slots[RING_SLOTS][RING_SLOT_BYTES]; /* each is one end's at a time */
};

/* With its memory there at once: any layer of a few MiB uses all of it, and page by page it costs a
 * fault each, which in a virtual machine is a hundredth of such a layer's conversion. */
struct ring *ring_new(void)
{
    struct ring *ring = mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (ring == MAP_FAILED)
        abort();
    pthread_mutex_init(&ring->mutex, NULL);
    pthread_cond_init(&ring->changed, NULL);
    return ring;
}

uint8_t *ring_reserve(struct ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    while (ring->published - ring->taken == RING_SLOTS)
        pthread_cond_wait(&ring->changed, &ring->mutex);
    uint8_t *slot = ring->slots[ring->published % RING_SLOTS];
    pthread_mutex_unlock(&ring->mutex);
    return slot;
}

bool ring_publish(struct ring *ring, size_t size_bytes)
{
    assert(size_bytes > 0 && size_bytes <= RING_SLOT_BYTES);
    pthread_mutex_lock(&ring->mutex);
    bool wanted = !ring->abandoned;
    if (wanted) {
        ring->sizes[ring->published % RING_SLOTS] = size_bytes;
        ring->published++;
        pthread_cond_signal(&ring->changed);
    }
    pthread_mutex_unlock(&ring->mutex);
    return wanted;
}

void ring_close(struct ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    ring->closed = true;
    pthread_cond_signal(&ring->changed);
    pthread_mutex_unlock(&ring->mutex);
}

static void release_slot(struct ring *ring)
{
    if (!ring->reading)
        return;
    ring->reading = false;
    ring->taken++;
    pthread_cond_signal(&ring->changed);
}

size_t ring_take(struct ring *ring, const uint8_t **bytes)
{
    pthread_mutex_lock(&ring->mutex);
    release_slot(ring);
    while (ring->published == ring->taken && !ring->closed)
        pthread_cond_wait(&ring->changed, &ring->mutex);
    size_t size_bytes = 0;
    if (ring->published != ring->taken) {
        ring->reading = true;
        *bytes = ring->slots[ring->taken % RING_SLOTS];
        size_bytes = ring->sizes[ring->taken % RING_SLOTS];
    }
    pthread_mutex_unlock(&ring->mutex);
    return size_bytes;
}

void ring_abandon(struct ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    ring->abandoned = true;
    ring->reading = false;
    ring->taken = ring->published;
    pthread_cond_signal(&ring->changed);
    pthread_mutex_unlock(&ring->mutex);
}
