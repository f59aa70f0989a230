/* Locks on files of the blob directory, kept by PostgreSQL (advisory, of a session):
 * whoever publishes, rescues or puts aside a file holds its lock. It ends with its
 * connection, so a killed node leaves none, and a node that lives on may lose it. So
 * what is true only under the lock is written through the lock's own session: when
 * the lock is gone, so is the session, and nothing is written.
 *
 * A reaper takes many files at a time and no such lock: it locks their condemned rows, and then
 * leaves alone what somebody has the lock of. Who gets a lock waits until no reaper has the row.
 */
#ifndef LARDER_STORE_FILE_LOCK_H
#define LARDER_STORE_FILE_LOCK_H

#include "store/blobdir.h"
#include "store/catalogue/catalogue.h"

#include <stdatomic.h>

struct file_lock;

/* Waits for the locks of the files, one after the other, in short steps so that
 * *cancelled (may be NULL) ends it with ERROR_PULL_CANCELLED. Who locks several does so
 * in the order of their kinds. Keeps one session of the pool until it is released. */
[[nodiscard]] struct file_lock *file_lock_acquire(struct catalogue *catalogue,
                                                  const struct blob_id *files, size_t file_count,
                                                  const atomic_bool *cancelled,
                                                  struct error *error);
/* Takes the file's lock if it is free and no reaper has the file, else *lock is NULL. */
[[nodiscard]] bool file_lock_try(struct catalogue *catalogue, const struct blob_id *file,
                                 struct file_lock **lock, struct error *error);
/* Releases. NULL is fine. */
void file_lock_release(struct file_lock *lock);

/* The lock's session, which stays the lock's. */
[[nodiscard]] struct catalogue_session *file_lock_session(struct file_lock *lock);

/* Just before a file gets its name: fails with ERROR_CATALOGUE_UNAVAILABLE when the lock is
 * known to be lost. Costs one poll(2). */
[[nodiscard]] bool file_lock_check(struct file_lock *lock, struct error *error);

/* Takes the lock for the session's transaction if it is free; a reaper may have the file. */
[[nodiscard]] bool file_lock_try_in_transaction(struct catalogue_session *session,
                                                const struct blob_id *file, bool *locked,
                                                struct error *error);

static inline void cleanup_file_lock_slot(struct file_lock **slot)
{
    file_lock_release(*slot);
}
#define cleanup_file_lock cleanup(cleanup_file_lock_slot)

#endif
