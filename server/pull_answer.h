/* How a pull is answered, at once or after a wait. */
#ifndef LARDER_SERVER_PULL_ANSWER_H
#define LARDER_SERVER_PULL_ANSWER_H

#include "server/request.h"
#include "store/catalogue/pulls.h"

/* The Pull, with its image when it is done. */
void pull_write(struct node *node, struct arena *arena, struct json_writer *out,
                const struct pull *pull);

/* Answers with the Pull. */
void pull_answer(struct request *request, unsigned status, const struct pull *pull);

/* To one who does not wait: 202, whatever its state is by now. */
void pull_answer_accepted(struct request *request, const struct pull *pull);

/* To one who waited: 200 when done, its problem when it failed, else 202. */
void pull_answer_waited(struct request *request, const struct pull *pull);

/* The seconds of `wait` in a Prefer header's value (RFC 7240), at most ten minutes;
 * false when there is none that makes sense. */
[[nodiscard]] bool pull_wait_preference(const char *prefer, unsigned *seconds);

#endif
