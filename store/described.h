/* The description of a reference against the catalogue: whether it is of an image that the
 * reference leads to, and writing one that is. The caller holds the description's lock, and the
 * session is the one that keeps it.
 */
#ifndef LARDER_STORE_DESCRIBED_H
#define LARDER_STORE_DESCRIBED_H

#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"
#include "store/platform.h"

/* The key of a reference's description. */
[[nodiscard]] struct digest described_key(const char *reference);

/* *current: the file says of a platform other than `except` (NULL: of any) what the catalogue has
 * of it now. One that is missing or cannot be read is not current. */
[[nodiscard]] bool described_is_current(struct catalogue_session *session, struct blobdir *blobdir,
                                        const char *reference, const struct platform *except,
                                        bool *current, struct error *error);

/* Sees to it that the file is current, of the platform that it had if that is here still, else of
 * the one that was pulled first. The reference must be in the catalogue, and its rows stay until
 * the transaction ends. */
[[nodiscard]] bool described_renew(struct catalogue_session *session, struct blobdir *blobdir,
                                   const char *reference, struct error *error);

#endif
