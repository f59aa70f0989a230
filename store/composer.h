/* The composer process: compose_fsmeta() and erofs_file_check() in a box, for layer files come out
 * of a directory that others write to, and a large tree takes memory and time.
 *
 *     node ──layer files, open──► fd 0 │ compose_fsmeta ► erofs_file_check │ ──► output_fd
 *
 * It is this binary again (`larder compose`, not for people), with no network, no files but those,
 * no privileges, a seccomp filter and limits. Whatever happens to it is one image not composed.
 * When the node is killed, it still ends what it is at.
 */
#ifndef LARDER_STORE_COMPOSER_H
#define LARDER_STORE_COMPOSER_H

#include "store/compose.h"

#include <stdatomic.h>

enum { COMPOSER_MAX_LAYERS = 1024 }; /* of an image, as of a manifest */

/* compose_fsmeta(), of what it wrote checked, in a process of its own. The codes are the same; one
 * that crashed, or took too long, is ERROR_UNSUPPORTED_LAYER, one that somebody killed
 * ERROR_PULL_FAILED. A *cancel (may be NULL) that becomes true ends it within a moment with
 * ERROR_PULL_CANCELLED. Thread-safe. */
[[nodiscard]] bool composer_run(const struct compose_layer *layers, size_t layer_count,
                                const struct digest *manifest_digest, unsigned deadline_seconds,
                                const atomic_bool *cancel, int output_fd,
                                struct compose_result *result, struct error *error);

/* The process's main(). */
[[nodiscard]] int composer_main(int argc, char **argv);

#endif
