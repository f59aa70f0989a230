/* What a registry says of its rate limit (Docker Hub does, with every manifest):
 *
 *     ratelimit-limit: 100;w=21600
 *     ratelimit-remaining: 76;w=21600
 *
 * that is, 100 requests in six hours, of which 76 are left. No sockets, no memory. */
#ifndef LARDER_STORE_REGISTRY_RATE_LIMIT_H
#define LARDER_STORE_REGISTRY_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct rate_limit {
    bool has_limit;
    bool has_remaining;
    int64_t limit;
    int64_t remaining;
    int64_t window_seconds; /* 0: it was not said */
};

/* Takes a header, whatever its name; one that is none of the two, or makes no sense, changes
 * nothing. */
void rate_limit_read(struct rate_limit *rate, const char *name, const char *value);

#endif
