/* By chance half of that or half as much again: what many do for one reason should not be
 * done by all at one time. Any thread. */
#ifndef LARDER_SERVER_JITTER_H
#define LARDER_SERVER_JITTER_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

static inline unsigned jitter_ms(unsigned ms)
{
    uint32_t chance = 0;
    if (getrandom(&chance, sizeof(chance), 0) != (ssize_t)sizeof(chance))
        abort();
    return ms / 2 + (unsigned)((uint64_t)ms * chance >> 32);
}

#endif
