/* A request's body on its way from its event loop to the thread that reads it: a bounded
 * buffer between the two. A full one stops the loop from reading more of the connection,
 * which in turn stops the sender.
 *
 * The loop puts pieces in until the body ends or breaks off; the reader takes them until
 * it has seen the end or wants no more. Each side has a say in when the loop goes on: it
 * suspends the connection when it is told to wait, and `resume` is called once there is
 * something to do, on the reader's thread.
 */
#ifndef LARDER_SERVER_BODY_STREAM_H
#define LARDER_SERVER_BODY_STREAM_H

#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>

struct body_stream;

[[nodiscard]] struct body_stream *body_stream_new(void (*resume)(void *context), void *context)
    __attribute__((returns_nonnull));
/* When both sides are done with it. NULL is fine. */
void body_stream_free(struct body_stream *stream);

/* --- the loop --- */

/* Puts in what fits, and returns how much. *wait: the rest has to wait; suspend. When the
 * reader wants no more, everything is taken and thrown away. */
[[nodiscard]] size_t body_stream_put(struct body_stream *stream, const void *bytes,
                                     size_t size_bytes, bool *wait);
/* The whole body is here. True: the reader is still at it; suspend. */
[[nodiscard]] bool body_stream_end(struct body_stream *stream);
/* The connection is over. True: the reader has been told, and is the last to leave; false:
 * it had left already. `resume` is not called any more. */
[[nodiscard]] bool body_stream_break_off(struct body_stream *stream);
[[nodiscard]] bool body_stream_is_read(struct body_stream *stream);

/* --- the reader --- */

/* struct tar_source's next(): waits for the next piece, valid until the next call; size 0 is
 * the end. Fails with ERROR_PULL_CANCELLED when the body broke off. */
bool body_stream_next(void *context, const void **bytes, size_t *size_bytes, struct error *error);
/* Wants no more. True: the loop is gone, and the reader is the last to leave. */
[[nodiscard]] bool body_stream_leave(struct body_stream *stream);

#endif
