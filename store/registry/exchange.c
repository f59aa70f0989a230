#include "store/registry/registry_internal.h"

#include "store/excerpt.h"
#include "store/metrics.h"
#include "store/registry/reach.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Read to its end, after which libcurl says where it leads: pages for people, mostly. */
enum { REDIRECT_BODY_MAX = 1 << 20 };

/* One request of an exchange, of which redirects make several. */
struct hop {
    struct registry_client *client;
    struct exchange *exchange;
    struct line *line;
    CURL *handle; /* the line's */
    const char *url;
    struct origin origin;
    struct reach reach;
    bool may_authorize;
    bool sink_refused;
    struct error *sink_error;
    char reason[CURL_ERROR_SIZE];
};

bool registry_is_cancelled(const atomic_bool *cancel)
{
    return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

bool registry_cancelled(struct error *error)
{
    return error_set(error, ERROR_PULL_CANCELLED, "the pull was cancelled");
}

/* Clears what a former attempt answered. */
static void exchange_reset(struct exchange *exchange)
{
    exchange->status = 0;
    exchange->came_from_elsewhere = false;
    exchange->may_retry = false;
    exchange->media_type[0] = '\0';
    exchange->content_digest[0] = '\0';
    exchange->content_length = -1;
    exchange->content_range_start = 0;
    exchange->content_range_total = UINT64_MAX;
    exchange->retry_after_seconds = 0;
    exchange->rate = (struct rate_limit){0};
    exchange->challenge = (struct challenge){0};
    exchange->error_body_size = 0;
    exchange->error_body_seen = 0;
    exchange->words = (struct excerpt){0};
}

static bool take_number(const char **at, uint64_t *value)
{
    char *end = NULL;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *value = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

/* `bytes 100-199/200` (RFC 9110, section 14.4). */
static void read_content_range(const char *value, struct exchange *exchange)
{
    uint64_t start;
    uint64_t last;
    uint64_t total;
    const char *at = value;
    if (strncmp(at, "bytes ", 6) != 0)
        return;
    at += 6;
    if (!take_number(&at, &start) || *at != '-')
        return;
    at++;
    if (!take_number(&at, &last))
        return;
    exchange->content_range_start = start;
    if (*at != '/')
        return;
    at++;
    if (take_number(&at, &total))
        exchange->content_range_total = total;
}

static void read_header(struct registry_client *client, struct exchange *exchange, const char *name,
                        const char *value)
{
    struct digest digest;
    if (strcasecmp(name, "content-type") == 0 &&
        !secrets_repeated(client, exchange->registry, value))
        media_type_normalise(value, exchange->media_type); /* errors may quote it */
    else if (strcasecmp(name, "docker-content-digest") == 0 && digest_parse(value, &digest))
        digest_format(&digest, exchange->content_digest);
    else if (strcasecmp(name, "content-range") == 0)
        read_content_range(value, exchange);
    else if (strcasecmp(name, "www-authenticate") == 0)
        challenge_parse(value, &exchange->challenge);
    else
        rate_limit_read(&exchange->rate, name, value);
}

/* Of where a redirect led we learn nothing about the registry. */
static void count_rate(const struct exchange *exchange)
{
    if (exchange->came_from_elsewhere)
        return;
    if (exchange->rate.has_limit)
        metric_set(METRIC_REGISTRY_RATE_LIMIT, exchange->rate.limit);
    if (exchange->rate.has_remaining)
        metric_set(METRIC_REGISTRY_RATE_REMAINING, exchange->rate.remaining);
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    struct hop *hop = context;
    size_t length = size * count;
    char line[CHALLENGE_REALM_SIZE + CHALLENGE_SCOPE_SIZE + CHALLENGE_SERVICE_SIZE + 64];
    if (length >= sizeof(line) || memchr(bytes, '\0', length))
        return length; /* none that we read */
    memcpy(line, bytes, length);
    line[length] = '\0';
    line[strcspn(line, "\r\n")] = '\0';

    char *colon = strchr(line, ':');
    if (strncmp(line, "HTTP/", 5) == 0) {
        exchange_reset(hop->exchange); /* what came before was 1xx */
    } else if (colon) {
        *colon++ = '\0';
        colon += strspn(colon, " \t");
        for (size_t end = strlen(colon); end > 0 && strchr(" \t", colon[end - 1]); end--)
            colon[end - 1] = '\0';
        read_header(hop->client, hop->exchange, line, colon);
    }
    return length;
}

static void read_answer(struct hop *hop)
{
    long status = 0;
    curl_off_t number = 0;
    struct exchange *exchange = hop->exchange;
    if (curl_easy_getinfo(hop->handle, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK)
        exchange->status = (int)status;
    if (curl_easy_getinfo(hop->handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &number) == CURLE_OK)
        exchange->content_length = number;
    if (curl_easy_getinfo(hop->handle, CURLINFO_RETRY_AFTER, &number) == CURLE_OK && number > 0)
        exchange->retry_after_seconds = number > 86400 ? 86400 : (int)number;
}

static bool has_content(const struct exchange *exchange)
{
    return exchange->status == 200 || exchange->status == 206;
}

static bool is_redirect(const struct exchange *exchange)
{
    int status = exchange->status;
    return !exchange->form &&
           (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
}

/* False when there is more than we read. */
static bool keep_error_body(struct exchange *exchange, const char *bytes, size_t length)
{
    size_t room = ERROR_BODY_MAX - exchange->error_body_size;
    size_t kept = length < room ? length : room;
    memcpy(exchange->error_body + exchange->error_body_size, bytes, kept);
    exchange->error_body_size += kept;
    exchange->error_body[exchange->error_body_size] = '\0';
    exchange->error_body_seen += length;
    return exchange->error_body_seen < (is_redirect(exchange) ? REDIRECT_BODY_MAX : ERROR_BODY_MAX);
}

/* Returns less than it was given to end the transfer: at a sink's refusal, or when an
 * error's body is longer than we read. */
static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct hop *hop = context;
    size_t length = size * count;
    read_answer(hop);
    if (!has_content(hop->exchange))
        return keep_error_body(hop->exchange, bytes, length) ? length : 0;
    if (hop->exchange->body(hop->exchange->body_context, bytes, length, hop->sink_error))
        return length;
    hop->sink_refused = true;
    return 0;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    cleanup_free char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0)
        abort(); /* out of memory, as in the arena */
    struct curl_slist *longer = curl_slist_append(list, line);
    if (!longer)
        abort();
    return longer;
}

static struct curl_slist *make_headers(const struct hop *hop)
{
    const struct exchange *exchange = hop->exchange;
    struct curl_slist *list =
        add_header(NULL, "Accept", exchange->accept ? exchange->accept : "*/*");
    if (exchange->authorization && hop->may_authorize)
        list = add_header(list, "Authorization", exchange->authorization);
    return list;
}

static void set_limits(CURL *handle, const struct hop *hop)
{
    const struct registry_client *client = hop->client;
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L); /* a cancel waits for no resolver */
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, (long)client->connect_timeout_seconds);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1024L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, (long)client->stall_timeout_seconds);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT, (long)hop->exchange->timeout_seconds);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, hop->origin.is_https ? "https" : "http");
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L); /* exchange_run() does */
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(handle, CURLOPT_HTTP_CONTENT_DECODING, 0L); /* digests are of raw bytes */
    if (client->ca_file)
        curl_easy_setopt(handle, CURLOPT_CAINFO, client->ca_file);
}

static void set_callbacks(CURL *handle, struct hop *hop)
{
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, hop);
    curl_easy_setopt(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, hop);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, hop->reason);
}

static void set_request(CURL *handle, const struct hop *hop, struct curl_slist *headers)
{
    const struct exchange *exchange = hop->exchange;
    char range[32];
    curl_easy_setopt(handle, CURLOPT_URL, hop->url);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "larder/" LARDER_VERSION);
    curl_easy_setopt(handle, CURLOPT_NOBODY, exchange->is_head ? 1L : 0L);
    if (exchange->form)
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, exchange->form);
    if (exchange->range_start > 0) {
        snprintf(range, sizeof(range), "%" PRIu64 "-", exchange->range_start);
        curl_easy_setopt(handle, CURLOPT_RANGE, range);
    }
}

static bool code_may_pass(CURLcode code)
{
    static const CURLcode codes[] = {
        CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT,
        CURLE_GOT_NOTHING,          CURLE_SEND_ERROR,      CURLE_RECV_ERROR,
        CURLE_PARTIAL_FILE,         CURLE_HTTP2,           CURLE_HTTP2_STREAM,
        CURLE_SSL_CONNECT_ERROR,    CURLE_AGAIN,           CURLE_COULDNT_RESOLVE_PROXY,
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i] == code)
            return true;
    return false;
}

/* Whether the answer can do without what was missing of its body. Where a redirect leads, libcurl
 * says at its end alone; one with so large a page that we broke it off leads nowhere. */
static bool is_complete(const struct exchange *exchange, CURLcode code)
{
    if (code == CURLE_OK)
        return true;
    if (is_redirect(exchange))
        return code == CURLE_WRITE_ERROR;
    return exchange->status >= 300 && !has_content(exchange);
}

/* What the end of the transfer means. The URL is left out of errors: a redirect's may
 * be signed. */
static bool judge(struct hop *hop, CURLcode code, struct error *error)
{
    struct exchange *exchange = hop->exchange;
    if (code != CURLE_OK && hop->reach.was_refused)
        return reach_refused(&hop->origin, error);
    if (code == CURLE_ABORTED_BY_CALLBACK || registry_is_cancelled(exchange->cancel))
        return registry_cancelled(error);
    if (hop->sink_refused)
        return false; /* the sink filled the error */
    read_answer(hop);
    if (is_complete(exchange, code))
        return true;
    exchange->may_retry = code_may_pass(code);
    return error_set(error, ERROR_PULL_FAILED, "%s to %s:%u failed: %s",
                     exchange->status != 0 ? "the transfer" : "the request", hop->origin.host,
                     hop->origin.port,
                     excerpt_of(hop->reason[0] ? hop->reason : curl_easy_strerror(code)).text);
}

static bool run_hop(struct hop *hop, struct error *error)
{
    exchange_reset(hop->exchange);
    hop->reach = reach_of(hop->client, hop->exchange->registry, &hop->origin);
    if (hop->reach.was_refused)
        return reach_refused(&hop->origin, error);
    curl_easy_reset(hop->handle);
    if (!reach_guard(&hop->reach, hop->handle, error))
        return false;
    struct curl_slist *headers = make_headers(hop);
    set_limits(hop->handle, hop);
    set_callbacks(hop->handle, hop);
    set_request(hop->handle, hop, headers);
    hop->reason[0] = '\0';
    hop->sink_error = error;
    CURLcode code = line_perform(hop->line, hop->exchange->cancel);
    bool answered = judge(hop, code, error);
    curl_slist_free_all(headers);
    return answered;
}

/* Moves the hop to where the answer points. An authorization never comes along to
 * another origin, not even back again. */
static bool follow(struct hop *hop, char **url, struct error *error)
{
    const char *location = NULL;
    struct origin next;
    curl_easy_getinfo(hop->handle, CURLINFO_REDIRECT_URL, &location);
    if (!location || !origin_parse(location, &next))
        return error_set(error, ERROR_PULL_FAILED,
                         "%s redirects to something that is no http URL, or with too many words",
                         hop->origin.host);
    if (hop->origin.is_https && !next.is_https)
        return error_set(error, ERROR_PULL_FAILED,
                         "%s redirects from https to plain http at %s, which is refused",
                         hop->origin.host, next.host);
    char *copy = strdup(location);
    if (!copy)
        abort(); /* out of memory, as in the arena */
    free(*url);
    *url = copy;
    hop->url = copy;
    hop->may_authorize = hop->may_authorize && origin_equal(&hop->origin, &next);
    hop->origin = next;
    return true;
}

static bool run_hops(struct hop *hop, struct error *error)
{
    cleanup_free char *url = NULL;
    for (int redirects = 0;; redirects++) {
        if (!run_hop(hop, error))
            return false;
        hop->exchange->came_from_elsewhere = !hop->may_authorize;
        if (!is_redirect(hop->exchange)) {
            exchange_read_words(hop->client, hop->exchange);
            return true;
        }
        if (redirects == REDIRECTS_MAX)
            return error_set(error, ERROR_PULL_FAILED, "%s redirects more than %d times",
                             hop->origin.host, REDIRECTS_MAX);
        if (!follow(hop, &url, error))
            return false;
    }
}

static enum metric_registry_outcome outcome_of(const struct hop *hop, bool answered)
{
    int status = hop->exchange->status;
    if (!answered && (hop->sink_refused || registry_is_cancelled(hop->exchange->cancel)))
        return REGISTRY_GIVEN_UP;
    if (!answered)
        return REGISTRY_NO_ANSWER;
    switch (status) {
    case 401:
    case 403:
        return REGISTRY_UNAUTHORIZED;
    case 404:
        return REGISTRY_NOT_FOUND;
    case 429:
        return REGISTRY_RATE_LIMITED;
    default:
        return status < 400 ? REGISTRY_OK : status < 500 ? REGISTRY_REFUSED : REGISTRY_FAILED;
    }
}

bool exchange_run(struct registry_client *client, struct exchange *exchange, struct error *error)
{
    struct hop hop = {
        .client = client, .exchange = exchange, .url = exchange->url, .may_authorize = true};
    exchange_reset(exchange);
    if (registry_is_cancelled(exchange->cancel))
        return registry_cancelled(error);
    secrets_remember(client, exchange);
    if (!origin_parse(exchange->url, &hop.origin))
        return error_set(error, ERROR_PULL_FAILED, "\"%s\" is not an http or https URL",
                         excerpt_of(exchange->url).text);
    hop.line = line_take(client);
    hop.handle = hop.line->easy;
    bool answered = run_hops(&hop, error);
    line_return(client, hop.line);
    metric_add(METRIC_REGISTRY_REQUESTS, 1, outcome_of(&hop, answered));
    count_rate(exchange);
    return answered;
}
