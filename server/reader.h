/* Reads of the catalogue on an event loop: from memory when the lease says that it is right,
 * else over the loop's own pipelined connection. Nothing here blocks.
 *
 *     lease valid ─────────────────────────────► memory ── hit ──► answer
 *     no-cache, or no lease ──► fence (shared) ──►   │
 *                                 │ fails, is late   └─ miss ──► fill (shared) ──► answer, store
 *                                 └► memory, marked stale, or 503
 *
 * A **fence** is one round trip for all reads that came to any loop before it was sent: it asks
 * what changed, evicts that, and so makes memory right as of then, for `Cache-Control: no-cache`
 * too. A **fill** asks for one answer, for all who want it at that time. A reader belongs to
 * its loop's thread.
 */
#ifndef LARDER_SERVER_READER_H
#define LARDER_SERVER_READER_H

#include "server/read_cache.h"
#include "server/request.h"
#include "store/catalogue/pipeline.h"

struct reader;

/* What a request wants to read; in its arena. */
struct read_question {
    struct cache_key key; /* also of the coding */
    bool varies;          /* it may be large: `coding` is what the client likes */
    enum content_coding coding;
    const struct statement *statement;
    /* The statement's parameters, in the request's arena. Only called on a miss. */
    bool (*ask)(struct request *request, const struct read_question *question,
                const char **parameters, size_t *parameter_count, struct error *error);
    /* The body, from the rows; or the error to answer with. */
    bool (*render)(struct request *request, const struct read_question *question,
                   const struct rows *rows, struct json_writer *out, struct error *error);
};

/* `resume` goes on with a request that was answered after a while. `lost` asks for a
 * connection. Both on the loop's thread. `wake`, from any, has reader_pass() and reader_fence()
 * called. */
[[nodiscard]] struct reader *reader_new(struct node *node, int epoll_fd, void *epoll_data,
                                        void (*resume)(struct request *request),
                                        void (*lost)(void *context), void (*wake)(void *context),
                                        void *context);
/* Answers all that still wait. NULL is fine. */
void reader_free(struct reader *reader);
void reader_attach(struct reader *reader, struct pipeline_connection *connection);

/* Answers the request now, or later: then it has no response yet when this returns. */
void reader_read(struct reader *reader, struct request *request,
                 const struct read_question *question);

/* The connection is ready. */
void reader_receive(struct reader *reader);
/* Another loop's fence may be back. */
void reader_pass(struct reader *reader);
/* Sends the fills that were started. */
void reader_flush(struct reader *reader);
/* Reads wait for a fence that is not on its way: once no more come, reader_fence() sends it, unless
 * another loop's is. */
bool reader_wants_fence(const struct reader *reader);
void reader_fence(struct reader *reader);
/* Looks at the clock. Milliseconds until the next time, or -1. */
int reader_expire(struct reader *reader);

#endif
