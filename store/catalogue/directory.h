/* Which blob directory is the catalogue's (store/directory_binding.h). */
#ifndef LARDER_STORE_CATALOGUE_DIRECTORY_H
#define LARDER_STORE_CATALOGUE_DIRECTORY_H

#include "store/catalogue/catalogue.h"

struct catalogue_identity {
    const char *id;           /* of the catalogue; in the arena, as the next */
    const char *directory_id; /* NULL: it has none yet */
    const char *new_id;       /* that nothing has so far, for a directory */
};

[[nodiscard]] bool catalogue_identify(struct catalogue *catalogue, struct arena *arena,
                                      struct catalogue_identity *identity, struct error *error);
/* Takes the directory, unless another one was taken before and there is no `force`: *directory_id
 * is the one that it has then. */
[[nodiscard]] bool catalogue_bind_directory(struct catalogue *catalogue, const char *wanted_id,
                                            bool force, struct arena *arena,
                                            const char **directory_id, struct error *error);

#endif
