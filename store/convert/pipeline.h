/* The converter's work: five threads that run at the same time.
 *
 *     reader     reads the blob, digests it           ─► ring of 1 MiB
 *     inflater   inflates                             ─► ring of 1 MiB
 *     builder    digests the tar, layer_build()       ─► output
 *     verifier   reads the output back, digests it    ◄─ output
 *     flusher    makes the output durable on the way  ◄─ output
 *
 * The builder is the caller of pipeline_run(). Inflating is the slowest stage of
 * a gzip layer and about half of the work, so it has a thread of its own.
 *
 * One pipeline a process, which ends with it: after a failure the threads may
 * still be waiting for the blob, so nothing here is ever freed.
 */
#ifndef LARDER_STORE_CONVERT_PIPELINE_H
#define LARDER_STORE_CONVERT_PIPELINE_H

#include "store/convert.h"

struct pipeline;

/* Starts the threads; they touch no byte of the blob before pipeline_run(), and
 * need no system call then that the sandbox refuses. `tar_bytes` counts what was
 * inflated. All pointers must last as long as the process. */
[[nodiscard]] struct pipeline *pipeline_start(const struct convert_request *request, int input_fd,
                                              _Atomic uint64_t *tar_bytes, struct error *error);

/* Makes the layer file, and checks everything; it may not be durable. When several
 * things are wrong, the one that explains the others is reported: a blob whose
 * digest is wrong is ERROR_DIGEST_MISMATCH, however it failed to inflate. */
[[nodiscard]] bool pipeline_run(struct pipeline *pipeline, int output_fd,
                                struct convert_report *report, struct error *error);

#endif
