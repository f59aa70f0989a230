/* A pipelined connection to PostgreSQL for an event loop: many questions on their way at
 * once, nothing ever waits. For short reads only: what is asked again after the connection
 * broke may have run before, and a slow statement holds up those behind it.
 *
 * All questions of one pipeline_flush() go out together. An error in one of them does not
 * touch the others: they are asked again. A connection that breaks or falls silent, or is older
 * than a silence that the catalogue's sessions met, is given up, `lost` is called, and its
 * questions wait for the next connection until their own deadline. One thread at a time, but for
 * pipeline_connect(), which blocks and belongs to another one.
 */
#ifndef LARDER_STORE_CATALOGUE_PIPELINE_H
#define LARDER_STORE_CATALOGUE_PIPELINE_H

#include "store/catalogue/catalogue.h"

struct pipeline;
struct pipeline_connection;

enum {
    PIPELINE_PARAMETERS_MAX = 12,
    PIPELINE_QUERIES_MAX = 1024, /* at 30 us each, the last one waits 30 ms */
    PIPELINE_SILENCE_MAX_MS = 1000,
};

/* The caller's, until `done` is called. */
struct pipeline_query {
    const struct statement *statement;
    const char *parameters[PIPELINE_PARAMETERS_MAX];
    size_t parameter_count;
    int64_t deadline_ms; /* monotonic */
    /* Exactly once, on the thread of the pipeline's calls. The rows live until it returns;
     * NULL: it failed, and why. */
    void (*done)(struct pipeline_query *query, const struct rows *rows, const struct error *error);
    /* of the pipeline */
    struct pipeline_query *next;
    int64_t sent_ms; /* when it was last sent; 0: it waits */
    unsigned tries;
};

/* Watches its socket in `epoll_fd` with `epoll_data`. Begins without a connection. */
[[nodiscard]] struct pipeline *pipeline_new(const struct catalogue *catalogue, int epoll_fd,
                                            void *epoll_data, void (*lost)(void *context),
                                            void *context);
/* Fails what is left, closes, frees. NULL is fine. */
void pipeline_free(struct pipeline *pipeline);

/* A connection for pipeline_attach(), to the same catalogue; bounded by a few seconds. */
[[nodiscard]] struct pipeline_connection *pipeline_connect(struct catalogue *catalogue,
                                                           struct error *error);
/* Closes one that was not attached. NULL is fine. */
void pipeline_discard(struct pipeline_connection *connection);
/* It is the pipeline's from then on. */
void pipeline_attach(struct pipeline *pipeline, struct pipeline_connection *connection);

/* Takes a question for the next flush; false with ERROR_CATALOGUE_UNAVAILABLE when too many
 * are on their way, or when PostgreSQL is away: someone waited in vain, and nobody connected
 * since. */
[[nodiscard]] bool pipeline_submit(struct pipeline *pipeline, struct pipeline_query *query,
                                   struct error *error);
void pipeline_flush(struct pipeline *pipeline);
/* Its socket is ready. */
void pipeline_receive(struct pipeline *pipeline);
/* Gives up what is late. Milliseconds until it must be called again; -1: when there are
 * questions again. */
int pipeline_expire(struct pipeline *pipeline);

#endif
