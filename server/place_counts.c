#include "server/place_counts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct place_count {
    struct place_count *next;
    size_t place_size;
    uint8_t place[8];
    size_t connections;
};

static bool is_there(const struct place_count *count, const struct peer *peer)
{
    return count->place_size == peer->place_size &&
           memcmp(count->place, peer->place, peer->place_size) == 0;
}

/* Whoever has so many addresses that buckets grow long has a connection in each, and there
 * are only so many connections. */
static struct place_count **find(struct place_counts *counts, const struct peer *peer)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < peer->place_size; i++)
        hash = hash * 31 + peer->place[i];
    struct place_count **slot = &counts->buckets[(hash ^ hash >> 8) % PLACE_BUCKETS];
    while (*slot && !is_there(*slot, peer))
        slot = &(*slot)->next;
    return slot;
}

size_t place_counts_add(struct place_counts *counts, const struct peer *peer)
{
    if (peer->place_size == 0)
        return 0;
    struct place_count **slot = find(counts, peer);
    if (!*slot) {
        *slot = calloc(1, sizeof(**slot));
        if (!*slot)
            abort();
        (*slot)->place_size = peer->place_size;
        memcpy((*slot)->place, peer->place, peer->place_size);
    }
    return ++(*slot)->connections;
}

void place_counts_remove(struct place_counts *counts, const struct peer *peer)
{
    if (peer->place_size == 0)
        return;
    struct place_count **slot = find(counts, peer);
    struct place_count *count = *slot;
    assert(count);
    if (--count->connections > 0)
        return;
    *slot = count->next;
    free(count);
}
