/* What changed in the catalogue since a moment that the caller knows: how nodes keep what
 * they have in memory in step with it (migrations/0004_change_log.sql).
 *
 * A moment is a snapshot of PostgreSQL's, as its text. Asking for the changes since one
 * gives those that became visible after it, some keys more than once, and the moment of the
 * answer. Snapshots of one server are totally ordered, whichever connection took them.
 */
#ifndef LARDER_STORE_CATALOGUE_CHANGES_H
#define LARDER_STORE_CATALOGUE_CHANGES_H

#include "store/catalogue/catalogue.h"
#include "store/reference.h"

struct changes {
    const char *server;      /* which run of which server answered: moments of two do not compare */
    const char *snapshot;    /* the moment of the answer */
    const char *const *keys; /* as change_key_of() makes them */
    size_t count;
    bool everything; /* anything may have changed; `keys` is empty */
};

/* The question, to be sent over any connection: one parameter, the snapshot, or NULL to
 * learn the moment only (then `everything` is set). */
extern const struct statement changes_statement;
void changes_read(const struct rows *rows, struct arena *arena, struct changes *changes);

/* The same over a session of the pool. */
[[nodiscard]] bool catalogue_read_changes(struct catalogue *catalogue, const char *snapshot,
                                          struct arena *arena, struct changes *changes,
                                          struct error *error);

/* Those of the transaction that the session is in, without a moment: who commits it knows what to
 * evict, whatever becomes of PostgreSQL afterwards. */
[[nodiscard]] bool session_read_own_changes(struct catalogue_session *session, struct arena *arena,
                                            struct changes *changes, struct error *error);

/* Under which key a change of what this reference leads to is written. */
void change_key_of(const struct reference *reference, char key[REFERENCE_TEXT_SIZE]);

/* How far a snapshot is: of two from one server, the later has the larger number. */
[[nodiscard]] uint64_t snapshot_progress(const char *snapshot);

/* Lets go of what every node has read by far: changes older than ten minutes. A node
 * that did not read for half of that forgets everything instead. Cheap when called often: one
 * call takes CHANGES_TRIMMED_MAX rows at most, well within a second, and says whether there may
 * be more. */
[[nodiscard]] bool catalogue_trim_changes(struct catalogue *catalogue, bool *is_more,
                                          struct error *error);
enum { CHANGES_KEPT_SECONDS = 600, CHANGES_TRIMMED_MAX = 10000 };

#endif
