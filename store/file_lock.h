/* Locks on files of the blob directory, kept by PostgreSQL (advisory, of a
 * session): whoever publishes, rescues or unlinks a file holds its lock. It ends
 * with its connection, so a killed node leaves none. fsmeta and vmdk of one manifest
 * share a lock.
 */
#ifndef LARDER_STORE_FILE_LOCK_H
#define LARDER_STORE_FILE_LOCK_H

#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"

#include <stdatomic.h>

struct file_lock;

/* Waits for the lock, in short steps so that *cancelled (may be NULL) ends it with
 * ERROR_PULL_CANCELLED. Keeps a session of the pool until it is released. */
[[nodiscard]] struct file_lock *file_lock_acquire(struct catalogue *catalogue, enum blob_kind kind,
                                                  const struct digest *key,
                                                  const atomic_bool *cancelled,
                                                  struct error *error);
/* Releases. NULL is fine. */
void file_lock_release(struct file_lock *lock);

/* Takes the lock for the session's transaction if it is free. */
[[nodiscard]] bool file_lock_try_in_transaction(struct catalogue_session *session,
                                                enum blob_kind kind, const struct digest *key,
                                                bool *locked, struct error *error);

static inline void cleanup_file_lock_slot(struct file_lock **slot)
{
    file_lock_release(*slot);
}
#define cleanup_file_lock cleanup(cleanup_file_lock_slot)

#endif
