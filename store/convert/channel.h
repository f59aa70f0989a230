/* What the node and one converter process share: a piece of memory, and the
 * numbers of the process's files.
 *
 * The memory is a sealed memfd mapped by both, so that the process can neither
 * shrink it under the node nor make the node wait. The node writes the request
 * before the process starts and reads the outcome after it has reaped it; only
 * tar_bytes is used by both at once. The process is not to be trusted: whatever
 * the node reads here, it checks.
 */
#ifndef LARDER_STORE_CONVERT_CHANNEL_H
#define LARDER_STORE_CONVERT_CHANNEL_H

#include "store/convert.h"

enum {
    CONVERT_INPUT_FD = 0,   /* the blob, a stream */
    CONVERT_OUTPUT_FD = 3,  /* the layer file */
    CONVERT_CHANNEL_FD = 4, /* struct convert_channel */
};

enum convert_verdict {
    CONVERT_UNFINISHED = 0,
    CONVERT_SUCCEEDED, /* `report` holds */
    CONVERT_FAILED,    /* `error` holds */
};

struct convert_channel {
    struct convert_request request;
    _Atomic uint64_t tar_bytes; /* inflated so far */
    uint32_t verdict;           /* of enum convert_verdict, written last */
    struct convert_report report;
    struct error error;
};

#endif
