#include "store/registry/rate_limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool take_number(const char **at, int64_t *value)
{
    char *end = NULL;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *value = strtoll(*at, &end, 10);
    *at = end;
    return errno == 0;
}

/* `76` or `76;w=21600`; parameters that we do not know may follow. */
static bool parse(const char *value, int64_t *count, int64_t *window_seconds)
{
    const char *at = value;
    if (!take_number(&at, count) || (*at && *at != ';' && *at != ','))
        return false;
    const char *window = strstr(at, ";w=");
    *window_seconds = 0;
    if (!window)
        return true;
    at = window + strlen(";w=");
    return take_number(&at, window_seconds);
}

void rate_limit_read(struct rate_limit *rate, const char *name, const char *value)
{
    bool is_limit = strcasecmp(name, "ratelimit-limit") == 0;
    int64_t count = 0;
    int64_t window_seconds = 0;
    if (!is_limit && strcasecmp(name, "ratelimit-remaining") != 0)
        return;
    if (!parse(value, &count, &window_seconds))
        return;
    if (is_limit) {
        rate->has_limit = true;
        rate->limit = count;
    } else {
        rate->has_remaining = true;
        rate->remaining = count;
    }
    if (window_seconds > 0)
        rate->window_seconds = window_seconds;
}
