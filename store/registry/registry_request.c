#include "store/registry/registry_internal.h"

#include "store/excerpt.h"
#include "store/metrics.h"
#include "store/registry/json_document.h"

#include <string.h>
#include <time.h>

enum {
    PAUSE_FIRST_MS = 250, /* doubled by every further attempt in a row */
    PAUSE_LAST_MS = 8000,
    PAUSE_SLICE_MS = 100,         /* how late a cancel may be seen */
    RETRY_AFTER_MAX_SECONDS = 30, /* longer: whoever waits decides, not we */
    ATTEMPTS_AT_MIRROR = 2,
    ATTEMPTS_IN_ALL = 100, /* against a registry that drips */
};

bool collector_take(void *context, const void *bytes, size_t size, struct error *error)
{
    struct collector *collector = context;
    if (size > collector->limit - collector->size)
        return error_set(error, ERROR_PULL_FAILED,
                         "the registry's answer is larger than the %zu bytes that are read",
                         collector->limit);
    size_t needed = collector->size + size + 1;
    if (needed > collector->capacity) {
        size_t capacity = needed < 8192 ? 8192 : needed * 2;
        char *longer = realloc(collector->bytes, capacity);
        if (!longer)
            abort(); /* out of memory, as in the arena */
        collector->bytes = longer;
        collector->capacity = capacity;
    }
    memcpy(collector->bytes + collector->size, bytes, size);
    collector->size += size;
    collector->bytes[collector->size] = '\0';
    return true;
}

bool status_may_pass(int status)
{
    return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
           status == 504;
}

/* Half of the pause is random, so that a fleet does not come back all at once. */
static int64_t pause_ms(const struct attempts *attempts, int retry_after_seconds)
{
    unsigned doublings = attempts->in_a_row > 6 ? 6 : attempts->in_a_row - 1;
    uint32_t pause = (uint32_t)PAUSE_FIRST_MS << doublings;
    if (pause > PAUSE_LAST_MS)
        pause = PAUSE_LAST_MS;
    pause = pause / 2 + arc4random_uniform(pause / 2 + 1);
    int64_t asked = (int64_t)retry_after_seconds * 1000;
    return asked > pause ? asked + arc4random_uniform(PAUSE_FIRST_MS) : pause;
}

struct attempts attempts_at(const struct registry_client *client, const struct reference *reference,
                            const struct reference *source)
{
    bool is_mirror = strcmp(reference->registry, source->registry) != 0;
    unsigned max = client->max_attempts;
    if (!is_mirror)
        return (struct attempts){.max_in_a_row = max, .patience_seconds = RETRY_AFTER_MAX_SECONDS};
    return (struct attempts){.max_in_a_row = max > ATTEMPTS_AT_MIRROR ? ATTEMPTS_AT_MIRROR : max};
}

bool attempts_pause(struct attempts *attempts, int retry_after_seconds, const atomic_bool *cancel,
                    struct error *error)
{
    attempts->in_a_row++;
    attempts->in_all++;
    if (attempts->in_a_row >= attempts->max_in_a_row || attempts->in_all >= ATTEMPTS_IN_ALL ||
        retry_after_seconds > attempts->patience_seconds)
        return false;
    metric_add(METRIC_REGISTRY_RETRIES, 1);
    int64_t due_ms = registry_now_ms() + pause_ms(attempts, retry_after_seconds);
    for (int64_t left_ms; (left_ms = due_ms - registry_now_ms()) > 0;) {
        if (registry_is_cancelled(cancel))
            return registry_cancelled(error);
        long slice_ms = left_ms < PAUSE_SLICE_MS ? (long)left_ms : PAUSE_SLICE_MS;
        nanosleep(&(struct timespec){.tv_nsec = slice_ms * 1000000}, NULL);
    }
    return true;
}

static enum error_code code_of_status(int status)
{
    switch (status) {
    case 401:
    case 403:
        return ERROR_REGISTRY_UNAUTHORIZED;
    case 429:
        return ERROR_TOO_MANY_REQUESTS;
    default:
        return ERROR_PULL_FAILED;
    }
}

static const char *verb_of_status(int status)
{
    if (status == 401 || status == 403)
        return "the registry refuses what was asked";
    if (status == 404)
        return "the registry has nothing";
    if (status == 429)
        return "the registry wants fewer requests";
    return "the registry gave no answer that can be used";
}

/* "; it allows 100 requests in 6 h, and 0 are left", as far as it said so. */
static void say_rate(const struct exchange *exchange, char *text, size_t size)
{
    const struct rate_limit *rate = &exchange->rate;
    char window[48] = "";
    text[0] = '\0';
    if (exchange->status != 429 || !rate->has_limit)
        return;
    if (rate->window_seconds >= 3600)
        snprintf(window, sizeof(window), " in %lld h", (long long)(rate->window_seconds / 3600));
    else if (rate->window_seconds > 0)
        snprintf(window, sizeof(window), " in %lld s", (long long)rate->window_seconds);
    snprintf(text, size, "; it allows %lld requests%s, and %lld are left", (long long)rate->limit,
             window, (long long)(rate->has_remaining ? rate->remaining : 0));
}

bool exchange_refused(const struct exchange *exchange, const char *what, struct error *error)
{
    const char *words = exchange->words.text;
    char rate[128];
    say_rate(exchange, rate, sizeof(rate));
    error_set(error, code_of_status(exchange->status), "%s for %s (status %d)%s%s%s",
              verb_of_status(exchange->status), what, exchange->status, words[0] ? ": " : "", words,
              rate);
    error->registry_status = exchange->status;
    error->retry_after_seconds = exchange->retry_after_seconds;
    return false;
}

static bool run_authorized(struct registry_client *client, const struct reference *reference,
                           struct exchange *exchange, const char *header, struct error *error)
{
    exchange->registry = reference->registry;
    exchange->authorization = header;
    bool answered = exchange_run(client, exchange, error);
    exchange->authorization = NULL;
    if (answered && exchange->status == 401 && header)
        grant_drop(client, reference, header);
    return answered;
}

/* A 401 from where a redirect led is not about our authorization. */
static bool wants_authorization(const struct exchange *exchange)
{
    return exchange->status == 401 && !exchange->came_from_elsewhere &&
           (exchange->challenge.basic || exchange->challenge.bearer);
}

/* The second round is for a header that another thread just got and that is used up
 * already. */
bool registry_attempt(struct registry_client *client, const struct reference *reference,
                      struct exchange *exchange, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    for (int round = 0; round < 2; round++) {
        const char *header = grant_find(client, reference, &arena);
        if (round > 0 && !header)
            break;
        if (!run_authorized(client, reference, exchange, header, error))
            return false;
        if (!wants_authorization(exchange))
            return true;
    }
    const char *header;
    return registry_token_get(client, reference, &exchange->challenge, exchange->cancel, &arena,
                              &header, error) &&
           run_authorized(client, reference, exchange, header, error);
}
