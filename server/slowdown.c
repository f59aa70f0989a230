#include "server/slowdown.h"

#include "store/digest.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    SLOTS = 4096,
    BURST = 10,       /* failures at once */
    REFILL_MS = 1000, /* for each further one */
    KEY_BYTES = 16,
    ADDRESS_MAX_BYTES = 16,
};

struct slowdown {
    uint8_t key[KEY_BYTES];
    pthread_mutex_t lock;         /* guards what follows */
    int64_t paid_until_ms[SLOTS]; /* failures are paid for in time; beyond now + BURST: refused */
};

struct slowdown *slowdown_new(void)
{
    struct slowdown *slowdown = calloc(1, sizeof(*slowdown));
    if (!slowdown || getrandom(slowdown->key, KEY_BYTES, 0) != KEY_BYTES)
        abort();
    pthread_mutex_init(&slowdown->lock, NULL);
    return slowdown;
}

void slowdown_free(struct slowdown *slowdown)
{
    if (!slowdown)
        return;
    pthread_mutex_destroy(&slowdown->lock);
    free(slowdown);
}

static size_t slot_of(const struct slowdown *slowdown, const void *address, size_t size)
{
    uint8_t keyed[KEY_BYTES + ADDRESS_MAX_BYTES] = {0};
    size_t slot;
    memcpy(keyed, slowdown->key, KEY_BYTES);
    memcpy(keyed + KEY_BYTES, address, size < ADDRESS_MAX_BYTES ? size : ADDRESS_MAX_BYTES);
    struct digest digest = digest_of(keyed, sizeof(keyed));
    memcpy(&slot, digest.bytes, sizeof(slot));
    return slot % SLOTS;
}

bool slowdown_count(struct slowdown *slowdown, const void *address, size_t size, int64_t now_ms)
{
    size_t slot = slot_of(slowdown, address, size);
    pthread_mutex_lock(&slowdown->lock);
    int64_t paid = slowdown->paid_until_ms[slot];
    if (paid < now_ms)
        paid = now_ms;
    paid += REFILL_MS;
    bool allowed = paid <= now_ms + (int64_t)BURST * REFILL_MS;
    if (allowed)
        slowdown->paid_until_ms[slot] = paid;
    pthread_mutex_unlock(&slowdown->lock);
    return allowed;
}
