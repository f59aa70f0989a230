/* Reads the layer file back while it is written, and digests it in the order of
 * store/file_digest.h: what a single digest would take at the end, as it needs the
 * superblock first, is a fifth of a whole conversion.
 */
#ifndef LARDER_STORE_CONVERT_READBACK_H
#define LARDER_STORE_CONVERT_READBACK_H

#include "store/convert/growth.h"
#include "store/digest.h"
#include "store/error.h"

enum { READBACK_STEP_BYTES = 1 << 20 }; /* of the growth that it follows */

/* Digests the file as it grows, and returns when it has ended. Only its first block may change
 * until then. */
[[nodiscard]] bool readback_run(struct growth *growth, int fd, struct digest *digest,
                                struct error *error);

#endif
