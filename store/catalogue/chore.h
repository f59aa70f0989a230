/* Work that any node may do and one does at a time, now and then: whoever begins it holds
 * an advisory lock until it ends, and writes down when it began, so that the others leave it
 * until it is due again. The lock goes with its holder.
 */
#ifndef LARDER_STORE_CATALOGUE_CHORE_H
#define LARDER_STORE_CATALOGUE_CHORE_H

#include "store/catalogue/catalogue.h"

struct chore;

/* Begins it if nobody is at it and it was not begun within the last `every_seconds` (0: it is
 * always due); *chore is NULL if it is not to be done now. Keeps a session of the pool until
 * chore_end(). */
[[nodiscard]] bool chore_begin(struct catalogue *catalogue, const char *name, int64_t every_seconds,
                               struct chore **chore, struct error *error);
/* NULL is fine. */
void chore_end(struct chore *chore);

static inline void cleanup_chore_slot(struct chore **slot)
{
    chore_end(*slot);
}
#define cleanup_chore cleanup(cleanup_chore_slot)

#endif
