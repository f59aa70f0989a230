#include "server/reader.h"

#include "server/cache_lease.h"
#include "server/clock.h"
#include "server/fence_gate.h"
#include "server/node.h"
#include "store/metrics.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    PATIENCE_MS = 2000, /* of a read, for PostgreSQL */
    /* Of one that has the choice of a stale answer, once the lease ran out: nothing was heard for
     * --max-staleness and this. */
    STALE_PATIENCE_MS = 250,
    FILL_BUCKETS = 256,
};

struct fence {
    struct pipeline_query query; /* first: it is what comes back */
    struct reader *reader;
    struct arena arena;
    struct lease_question question;
    uint64_t number; /* the gate's */
    bool is_sent;    /* and not answered */
    bool is_late;
    int64_t sent_us;
};

/* One answer on its way, for all who want it. Its first request's arena holds it. */
struct fill {
    struct pipeline_query query; /* first: it is what comes back */
    struct reader *reader;
    struct fill *next; /* in its bucket */
    const struct read_question *question;
    struct cache_ticket ticket;
    int64_t asked_us;
    struct request *asker;
    struct request *joined;
};

struct reader {
    struct node *node;
    struct pipeline *pipeline;
    void (*resume)(struct request *request);
    struct request *waiting; /* for a fence of any loop's */
    bool was_silent;         /* who can do with a stale answer has one */
    struct fence fence;      /* its own, when it is its turn */
    struct fence_place place;
    struct fill *fills[FILL_BUCKETS];
};

struct reader *reader_new(struct node *node, int epoll_fd, void *epoll_data,
                          void (*resume)(struct request *request), void (*lost)(void *context),
                          void (*wake)(void *context), void *context)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        abort();
    reader->node = node;
    reader->resume = resume;
    reader->fence.reader = reader;
    reader->place = (struct fence_place){.wake = wake, .context = context};
    reader->pipeline = pipeline_new(node->catalogue, epoll_fd, epoll_data, lost, context);
    return reader;
}

void reader_attach(struct reader *reader, struct pipeline_connection *connection)
{
    pipeline_attach(reader->pipeline, connection);
}

static int64_t monotonic_deadline_ms(void)
{
    return clock_now_us() / 1000 + PATIENCE_MS;
}

/* --- answering --- */

/* RFC 9211, 2: what the cache did. */
static const char *status_text(enum metric_read outcome)
{
    static const char *const texts[READ_COUNT] = {
        [READ_HIT] = "larder; hit",
        [READ_FENCED] = "larder; hit; detail=fenced",
        [READ_MISS] = "larder; fwd=miss; stored",
        [READ_UNSTORED] = "larder; fwd=miss",
        [READ_COLLAPSED] = "larder; fwd=miss; collapsed",
    };
    return texts[outcome];
}

/* False: it has too much to do for that. */
static bool answer_cached(struct request *request, struct cached_answer *answer,
                          enum metric_read outcome)
{
    if (!request_answer_cached(request, answer))
        return false;
    metric_add(METRIC_READS, 1, outcome);
    if (outcome != READ_STALE)
        request_add_header(request, "Cache-Status", status_text(outcome));
    return true;
}

/* RFC 9211, 2.2: a negative ttl says for how long it may have been wrong. */
static void answer_stale(struct request *request, struct cached_answer *answer, int64_t age_us)
{
    char text[64];
    long long seconds = (long long)(age_us / 1000000);
    if (!answer_cached(request, answer, READ_STALE))
        return;
    snprintf(text, sizeof(text), "larder; hit; ttl=-%lld; detail=stale", seconds);
    request_add_header(request, "Cache-Status", text);
    snprintf(text, sizeof(text), "%lld", seconds);
    request_add_header(request, MHD_HTTP_HEADER_AGE, text);
    request_add_header(request, MHD_HTTP_HEADER_WARNING, "110 larder \"Response is Stale\"");
}

/* While the catalogue is away, what was right when it went is better than nothing; what is known to
 * be wrong is not. */
static bool try_stale(struct reader *reader, struct request *request)
{
    int64_t age_us = cache_lease_age_us(reader->node->lease);
    if (request->read.fresh || cache_lease_is_wrong(reader->node->lease) ||
        age_us / 1000 > (int64_t)reader->node->options->max_stale_if_error_ms)
        return false;
    struct cached_answer *answer =
        read_cache_find(reader->node->cache, &request->read.question->key);
    if (answer)
        answer_stale(request, answer, age_us);
    return answer;
}

/* To wait is in vain; what is known to be wrong is waited for all the same. */
static bool is_silent(const struct reader *reader)
{
    const struct cache_lease *lease = reader->node->lease;
    return cache_lease_is_silent(lease) && !cache_lease_is_wrong(lease);
}

static void answer_failure(struct reader *reader, struct request *request,
                           const struct error *error)
{
    if (error->code == ERROR_CATALOGUE_UNAVAILABLE && try_stale(reader, request))
        return;
    request_answer_problem(request, error);
}

/* --- fills --- */

static struct fill **bucket_of(struct reader *reader, const struct cache_key *key)
{
    return &reader->fills[(key->change >> 16) % FILL_BUCKETS];
}

static bool same_key(const struct cache_key *one, const struct cache_key *other)
{
    return one->change == other->change && one->length == other->length &&
           memcmp(one->text, other->text, one->length) == 0;
}

/* One that was asked before the key changed, or before this request came with no-cache,
 * or longer ago than memory may lie, does not answer it. */
static bool may_join(struct reader *reader, const struct fill *fill, const struct request *request)
{
    int64_t max_age_us = (int64_t)reader->node->options->max_staleness_ms * 1000;
    if (request->read.fresh ? fill->asked_us < request->started_us
                            : clock_now_us() - fill->asked_us >= max_age_us)
        return false;
    return same_key(&fill->question->key, &request->read.question->key) &&
           read_cache_is_current(reader->node->cache, fill->ticket);
}

static bool join_fill(struct reader *reader, struct request *request)
{
    for (struct fill *fill = *bucket_of(reader, &request->read.question->key); fill;
         fill = fill->next)
        if (may_join(reader, fill, request)) {
            request->read.next = fill->joined;
            fill->joined = request;
            return true;
        }
    return false;
}

static void unlink_fill(struct reader *reader, struct fill *fill)
{
    struct fill **slot = bucket_of(reader, &fill->question->key);
    while (*slot != fill)
        slot = &(*slot)->next;
    *slot = fill->next;
}

/* The answer of a fill; held. NULL with the error. */
static struct cached_answer *make_answer(struct fill *fill, const struct rows *rows, bool *stored,
                                         struct error *error)
{
    struct read_cache *cache = fill->reader->node->cache;
    cleanup_json_writer struct json_writer out = {0};
    if (!fill->question->render(fill->asker, fill->question, rows, &out, error))
        return NULL;
    json_append(&out, "\n", 1);
    enum content_coding coding = content_coding_apply(fill->question->coding, &out);
    struct cached_answer *answer =
        cached_answer_new(cache, &fill->question->key, out.bytes, out.size_bytes);
    answer->coding = coding;
    answer->varies = fill->question->varies;
    *stored = read_cache_store(cache, answer, fill->ticket);
    return answer;
}

/* The asker goes last: the fill lives in its arena. */
static void fill_done(struct pipeline_query *query, const struct rows *rows,
                      const struct error *error)
{
    struct fill *fill = (struct fill *)query;
    struct reader *reader = fill->reader;
    struct error why = {0};
    bool stored = false;
    unlink_fill(reader, fill);
    if (error)
        why = *error;
    struct cached_answer *answer = rows ? make_answer(fill, rows, &stored, &why) : NULL;
    for (struct request *request = fill->joined; request;) {
        struct request *next = request->read.next;
        if (answer) {
            cached_answer_hold(answer);
            (void)answer_cached(request, answer, READ_COLLAPSED);
        } else {
            answer_failure(reader, request, &why);
        }
        reader->resume(request);
        request = next;
    }
    struct request *asker = fill->asker;
    if (answer)
        (void)answer_cached(asker, answer, stored ? READ_MISS : READ_UNSTORED);
    else
        answer_failure(reader, asker, &why);
    reader->resume(asker);
}

/* False with the error when the question cannot be asked. */
static bool start_fill(struct reader *reader, struct request *request, struct error *error)
{
    const struct read_question *question = request->read.question;
    struct fill *fill = arena_alloc(&request->arena, sizeof(*fill));
    *fill = (struct fill){
        .query = {.statement = question->statement,
                  .deadline_ms = monotonic_deadline_ms(),
                  .done = fill_done},
        .reader = reader,
        .question = question,
        .ticket = read_cache_ticket(reader->node->cache, question->key.change),
        .asked_us = clock_now_us(),
        .asker = request,
    };
    if (!question->ask(request, question, fill->query.parameters, &fill->query.parameter_count,
                       error) ||
        !pipeline_submit(reader->pipeline, &fill->query, error))
        return false;
    struct fill **bucket = bucket_of(reader, &question->key);
    fill->next = *bucket;
    *bucket = fill;
    return true;
}

/* --- reading --- */

/* Memory may be believed: answers from it, or waits for a fill. True when it is answered. */
static bool read_believing(struct reader *reader, struct request *request, enum metric_read outcome)
{
    struct cached_answer *answer =
        read_cache_find(reader->node->cache, &request->read.question->key);
    if (answer) {
        (void)answer_cached(request, answer, outcome);
        return true;
    }
    struct error error;
    if (join_fill(reader, request) || start_fill(reader, request, &error))
        return false;
    answer_failure(reader, request, &error);
    return true;
}

void reader_read(struct reader *reader, struct request *request,
                 const struct read_question *question)
{
    request->read = (struct request_read){.question = question,
                                          .fresh = request->headers.wants_fresh,
                                          .came = fence_gate_count(reader->node->fence_gate)};
    if (!request->read.fresh && cache_lease_is_valid(reader->node->lease)) {
        (void)read_believing(reader, request, READ_HIT);
        return;
    }
    if (is_silent(reader) && try_stale(reader, request))
        return;
    request->read.next = reader->waiting;
    reader->waiting = request;
}

/* --- fences --- */

/* Takes those out of the ones who wait that came before the fence of that number was sent. */
static struct request *take_earlier(struct reader *reader, uint64_t number)
{
    struct request *taken = NULL;
    for (struct request **slot = &reader->waiting; *slot;) {
        struct request *request = *slot;
        if (request->read.came >= number) {
            slot = &request->read.next;
            continue;
        }
        *slot = request->read.next;
        request->read.next = taken;
        taken = request;
    }
    return taken;
}

static void fail_group(struct reader *reader, struct request *group, const struct error *error)
{
    while (group) {
        struct request *next = group->read.next;
        answer_failure(reader, group, error);
        reader->resume(group);
        group = next;
    }
}

void reader_pass(struct reader *reader)
{
    uint64_t passed = fence_gate_passed(reader->node->fence_gate);
    for (struct request *group = take_earlier(reader, passed), *next; group; group = next) {
        next = group->read.next;
        if (read_believing(reader, group, READ_FENCED))
            reader->resume(group);
    }
}

/* Nobody is answered by one that another server's answer overtook: they wait for the next. */
static void fence_done(struct pipeline_query *query, const struct rows *rows,
                       const struct error *error)
{
    struct fence *fence = (struct fence *)query;
    struct reader *reader = fence->reader;
    bool has_proven = false;
    fence->is_sent = false;
    if (rows) {
        struct changes changes;
        changes_read(rows, &fence->arena, &changes);
        has_proven = cache_lease_answer(reader->node->lease, &fence->question, &changes);
    }
    arena_reset(&fence->arena);
    fence_gate_leave(reader->node->fence_gate, fence->number, has_proven);
    reader_pass(reader);
    if (!rows)
        fail_group(reader, take_earlier(reader, fence->number), error);
}

static void send_fence(struct reader *reader)
{
    struct fence *fence = &reader->fence;
    struct error error;
    cache_lease_ask(reader->node->lease, &fence->arena, &fence->question);
    fence->query = (struct pipeline_query){.statement = &changes_statement,
                                           .parameters = {fence->question.snapshot},
                                           .parameter_count = 1,
                                           .deadline_ms = monotonic_deadline_ms(),
                                           .done = fence_done};
    fence->is_sent = true;
    fence->is_late = false;
    fence->sent_us = clock_now_us();
    if (!pipeline_submit(reader->pipeline, &fence->query, &error))
        fence_done(&fence->query, NULL, &error);
}

/* True when it waits for its fence no more. Somebody else may have heard of PostgreSQL meanwhile.
 */
static bool answer_without_fence(struct reader *reader, struct request *request)
{
    bool answered = false;
    if (!request->read.fresh && cache_lease_is_valid(reader->node->lease))
        answered = read_believing(reader, request, READ_HIT);
    else if (!is_silent(reader) || !(answered = try_stale(reader, request)))
        return false;
    if (answered)
        reader->resume(request);
    return true;
}

/* Gives who can do with it a stale answer; the others go on waiting. */
static struct request *answer_impatient(struct reader *reader, struct request *group)
{
    struct request *patient = NULL;
    while (group) {
        struct request *request = group;
        group = request->read.next;
        if (answer_without_fence(reader, request))
            continue;
        request->read.next = patient;
        patient = request;
    }
    return patient;
}

/* It may be us who are late, with its answer here already. */
static void mind_late_fence(struct reader *reader)
{
    struct fence *fence = &reader->fence;
    pipeline_receive(reader->pipeline);
    if (!fence->is_sent)
        return;
    fence->is_late = true;
    cache_lease_miss_answer(reader->node->lease, fence->question.asked_us);
}

/* Once when PostgreSQL falls silent, whichever loop found out. */
static void mind_silence(struct reader *reader)
{
    bool silent = is_silent(reader);
    if (silent && !reader->was_silent)
        reader->waiting = answer_impatient(reader, reader->waiting);
    reader->was_silent = silent;
}

/* Milliseconds until it must be called again, or -1. */
static int mind_fence(struct reader *reader)
{
    struct fence *fence = &reader->fence;
    if (fence->is_sent && !fence->is_late &&
        clock_now_us() - fence->sent_us >= STALE_PATIENCE_MS * 1000)
        mind_late_fence(reader);
    mind_silence(reader);
    pipeline_flush(reader->pipeline);
    return reader->waiting ? FENCE_OVERDUE_MS : -1;
}

/* --- the loop's turns --- */

void reader_receive(struct reader *reader)
{
    pipeline_receive(reader->pipeline);
}

void reader_flush(struct reader *reader)
{
    pipeline_flush(reader->pipeline);
}

bool reader_wants_fence(const struct reader *reader)
{
    return reader->waiting && !reader->fence.is_sent;
}

void reader_fence(struct reader *reader)
{
    if (!fence_gate_enter(reader->node->fence_gate, &reader->place, clock_now_us(),
                          &reader->fence.number))
        return;
    send_fence(reader);
    pipeline_flush(reader->pipeline);
}

int reader_expire(struct reader *reader)
{
    int query_ms = pipeline_expire(reader->pipeline);
    int fence_ms = mind_fence(reader);
    return query_ms < 0 || (fence_ms >= 0 && fence_ms < query_ms) ? fence_ms : query_ms;
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    struct error ending;
    error_set(&ending, ERROR_CATALOGUE_UNAVAILABLE, "This node ends; ask another one");
    ending.retry_after_seconds = 1;
    pipeline_free(reader->pipeline);
    fence_gate_forget(reader->node->fence_gate, &reader->place);
    fail_group(reader, steal(&reader->waiting), &ending);
    arena_free(&reader->fence.arena);
    free(reader);
}
