/* What deleting one image and pruning share. Within one transaction that holds the
 * removal lock: which references go is written into a temporary table of the session,
 * then everything that only they reached, table by table, by joins. Locks are taken in
 * the order references, manifests, layers, and all of these before their holders.
 *
 *     removal_references    that go          (filled by removal.c, removal_prune.c)
 *     removal_manifests     that may go, locked
 *     removal_layers        theirs, when one image is removed
 */
#ifndef LARDER_STORE_CATALOGUE_REMOVAL_INTERNAL_H
#define LARDER_STORE_CATALOGUE_REMOVAL_INTERNAL_H

#include "store/catalogue/removal.h"

/* That no live sandbox and no snapshot holds the manifest. */
#define IS_NOT_HELD(digest)                                                                        \
    " NOT EXISTS (SELECT FROM sandboxes s WHERE s.held_digest = " digest                           \
    "                AND (s.expires_at IS NULL OR s.expires_at > now()))"                          \
    " AND NOT EXISTS (SELECT FROM snapshots s WHERE s.held_digest = " digest ")"

/* That r, of image_refs, is v, of removal_references. */
#define IS_VICTIM                                                                                  \
    " v.reference = r.reference AND v.os = r.os AND v.architecture = r.architecture"               \
    " AND v.variant = r.variant"

/* That all references to m, of manifests, go. */
#define LOSES_ALL_REFERENCES                                                                       \
    " NOT EXISTS (SELECT FROM image_refs r WHERE r.manifest_digest = m.digest"                     \
    "                AND NOT EXISTS (SELECT FROM removal_references v WHERE" IS_VICTIM "))"

/* Before the transaction: makes the tables, which then are the session's. */
[[nodiscard]] bool removal_make_tables(struct catalogue_session *session, struct error *error);

/* First in it. One removal at a time: two would wait for each other's rows. */
[[nodiscard]] bool removal_lock(struct catalogue_session *session, struct error *error);

/* In a transaction of another kind: until it ends, no removal runs. Waits for a second at most:
 * such transactions have workers that others need. */
[[nodiscard]] bool removal_lock_out(struct catalogue_session *session, struct error *error);

/* A condemned row of what is catalogued, which nothing makes, would have the reaper unlink it, and
 * would be in the way of the removal's own: such a row goes. All of them, or those of
 * removal_manifests and removal_layers. */
[[nodiscard]] bool removal_pardon(struct catalogue_session *session, struct error *error);
[[nodiscard]] bool removal_pardon_victims(struct catalogue_session *session, struct error *error);

/* After removal_references or removal_manifests were filled: makes PostgreSQL plan for
 * their new sizes. A plan made for one row would be quadratic for many. */
[[nodiscard]] bool removal_count_references(struct catalogue_session *session, struct error *error);
[[nodiscard]] bool removal_count_manifests(struct catalogue_session *session, struct error *error);

/* Once the manifests are locked: sandboxes whose lease ran out let go of them. */
[[nodiscard]] bool removal_expire_holders(struct catalogue_session *session, struct error *error);

/* Takes out and condemns what nothing reaches any more, once the references are gone:
 * of the whole catalogue, with the removal's figures; */
[[nodiscard]] bool removal_condemn_unreached(struct catalogue_session *session,
                                             struct removal *removal, struct error *error);
/* or of the victims alone, listing the files. */
[[nodiscard]] bool removal_condemn_victims(struct catalogue_session *session, struct arena *arena,
                                           struct condemned *condemned, struct error *error);

/* Runs a statement without parameters whose rows nobody needs. */
[[nodiscard]] bool removal_run(struct catalogue_session *session, const struct statement *statement,
                               struct error *error);

#endif
