/* The node's side of a boxed process: this binary again, with one stream to read, one
 * file to write and a channel (channel.h) to report through. It is started (nursery.h), fed,
 * waited for within a deadline, and its end is judged. What it works at is its
 * job's: converter.c makes layer files, composer.c puts them together, store/load/unpacker.c takes
 * archives apart.
 */
#ifndef LARDER_STORE_CONVERT_BOX_H
#define LARDER_STORE_CONVERT_BOX_H

#include "store/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct box_job {
    const char *command;       /* of `larder COMMAND`, which it is started as */
    const char *name;          /* "converter" */
    const char *work;          /* "converting the layer" */
    const char *deadline_flag; /* " (--flag)" behind the deadline that it missed, or "" */
    enum error_code failure;   /* what its crash is, and what it cannot name better */
};

/* One process. One thread at a time. */
struct box;

/* Makes the channel, of zeros. The job must outlive the box. The process may keep the
 * node waiting for deadline_seconds in all. NULL with an error. */
[[nodiscard]] struct box *box_new(const struct box_job *job, size_t channel_size_bytes,
                                  unsigned deadline_seconds, struct error *error);

/* From here on a *cancel that becomes true ends what waits for the process, within
 * a moment, with ERROR_PULL_CANCELLED, and the process with it. */
void box_set_cancel(struct box *box, const atomic_bool *cancel);

/* Our mapping of the channel, which the box owns. */
[[nodiscard]] void *box_channel(const struct box *box);

/* Starts the process, which writes to output_fd (stays the caller's, and must stay
 * open until the process has ended). */
[[nodiscard]] bool box_start(struct box *box, int output_fd, struct error *error);

/* Hands over the next bytes of the stream; blocks while the process is busy. Fails
 * with ERROR_PULL_FAILED when it is gone: call box_finish() for why. */
[[nodiscard]] bool box_write(struct box *box, const void *bytes, size_t size_bytes,
                             struct error *error);

/* Hands over open files, which stay the caller's; the process takes as many with
 * boxed_take_files() before it reads anything else. Fails as box_write() does. */
[[nodiscard]] bool box_send_files(struct box *box, const int *fds, size_t count,
                                  struct error *error);

/* Ends the stream and waits for the process. True: the report in the channel holds, and
 * nobody changes it any more. Fails with what the process found or, when it crashed or
 * went beyond a limit, with the job's `failure` naming the signal or limit; when somebody
 * else killed it, with ERROR_PULL_FAILED. */
[[nodiscard]] bool box_finish(struct box *box, struct error *error);

/* Kills the process if it still runs, reaps it and frees. NULL is fine. */
void box_free(struct box *box);

#endif
