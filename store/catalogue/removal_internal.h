/* What deleting one image and pruning share: given the references that go, take out
 * all that nothing reaches any more and condemn its files. Within a transaction that
 * holds the removal lock; locks are taken in the order references, manifests, layers.
 */
#ifndef LARDER_STORE_CATALOGUE_REMOVAL_INTERNAL_H
#define LARDER_STORE_CATALOGUE_REMOVAL_INTERNAL_H

#include "store/catalogue/removal.h"

/* References that go, as text[] parameters of the same length, locked. */
struct victims {
    size_t count;
    const char *references;
    const char *oses;
    const char *architectures;
    const char *variants;
    const char *manifests;
};

/* From rows of (reference, os, architecture, variant, manifest_digest). */
void victims_from_rows(const struct rows *rows, struct arena *arena, struct victims *victims);

/* One removal at a time: two would wait for each other's rows. */
[[nodiscard]] bool removal_begin(struct catalogue_session *session, struct arena *arena,
                                 struct error *error);

/* Locks the manifests of the victims, so that nobody starts to hold them. */
[[nodiscard]] bool removal_lock_manifests(struct catalogue_session *session,
                                          const struct victims *victims, struct arena *arena,
                                          struct error *error);

/* Takes the victims out, then whatever nothing reaches, and condemns the files. */
[[nodiscard]] bool removal_sweep(struct catalogue_session *session, const struct victims *victims,
                                 struct arena *arena, struct removal *removal, struct error *error);

/* As catalogue_drop_pull_layers(); needs no removal lock. */
[[nodiscard]] bool removal_drop_pull_layers(struct catalogue_session *session, const char *pull_id,
                                            const char *node_id, struct arena *arena,
                                            struct removal *removal, struct error *error);

#endif
