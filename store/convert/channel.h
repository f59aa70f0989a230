/* What the node and one boxed process share: a piece of memory, and the numbers of
 * the process's files.
 *
 * The memory is a sealed memfd mapped by both, so that the process can neither
 * shrink it under the node nor make the node wait. The node writes the request
 * before the process starts and reads the outcome after it has reaped it; only
 * the progress is used by both at once. The process is not to be trusted: whatever
 * the node reads here, it checks.
 */
#ifndef LARDER_STORE_CONVERT_CHANNEL_H
#define LARDER_STORE_CONVERT_CHANNEL_H

#include "store/convert.h"

enum {
    BOX_INPUT_FD = 0,   /* a stream: of the converter, the blob */
    BOX_OUTPUT_FD = 3,  /* the one file: of the converter, the layer file */
    BOX_CHANNEL_FD = 4, /* a channel of the job's own kind */
};

enum box_verdict {
    BOX_UNFINISHED = 0,
    BOX_SUCCEEDED, /* the job's report holds */
    BOX_FAILED,    /* `error` holds */
};

/* How every channel begins. */
struct box_outcome {
    uint32_t verdict; /* of enum box_verdict, written last */
    struct error error;
};

struct convert_channel {
    struct box_outcome outcome;
    struct convert_request request;
    _Atomic uint64_t tar_bytes; /* inflated so far */
    struct convert_report report;
};

#endif
