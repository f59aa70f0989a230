/* A transaction that is tried again when PostgreSQL says that another one was in
 * its way: a deadlock, a serialization failure, or a row that a concurrent removal
 * took while a foreign key was being made to point at it.
 *
 * When the connection breaks during COMMIT, another one finds out whether it happened: success
 * means that it did, ERROR_CATALOGUE_UNAVAILABLE that it did not, or that nobody could say
 * within ten seconds. It is never done twice.
 */
#ifndef LARDER_STORE_CATALOGUE_TRANSACTION_H
#define LARDER_STORE_CATALOGUE_TRANSACTION_H

#include "store/catalogue/catalogue.h"

/* The statements of one try. Returning false rolls back. Must have no other effect. */
typedef bool transaction_body(struct catalogue_session *session, void *context,
                              struct error *error);

/* Runs the body between BEGIN and COMMIT, up to five times. */
[[nodiscard]] bool catalogue_transact(struct catalogue *catalogue, transaction_body *body,
                                      void *context, struct error *error);

/* The same on a session that the caller has: one that keeps a lock. */
[[nodiscard]] bool session_transact(struct catalogue_session *session, transaction_body *body,
                                    void *context, struct error *error);

/* The same, but rolls back in the end: for dry runs. */
[[nodiscard]] bool session_rehearse(struct catalogue_session *session, transaction_body *body,
                                    void *context, struct error *error);

#endif
