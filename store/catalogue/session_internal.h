/* What pool.c, session.c, pipeline.c, connection.c, migrate.c and nodes.c share: the inside of a
 * session. */
#ifndef LARDER_STORE_CATALOGUE_SESSION_INTERNAL_H
#define LARDER_STORE_CATALOGUE_SESSION_INTERNAL_H

#include "store/catalogue/catalogue.h"
#include "store/catalogue/servers.h"

#include <libpq-fe.h>

/* The statements that a connection knows. */
struct prepared {
    const struct statement **statements; /* owned */
    size_t count;
    size_t capacity;
};

[[nodiscard]] bool prepared_has(const struct prepared *prepared, const struct statement *statement);
void prepared_add(struct prepared *prepared, const struct statement *statement);
void prepared_free(struct prepared *prepared);

/* The rows of a result, with their values copied into the arena, or as they are in it. */
void rows_of_result(PGresult *result, bool copied, struct arena *arena, struct rows *rows);

/* Belongs to the pool while it is free, to the thread that acquired it until it is
 * released. */
struct catalogue_session {
    struct catalogue *catalogue; /* not owned */
    struct catalogue_session *next_free;
    bool generic_plans;            /* the pool's */
    unsigned statement_timeout_ms; /* of the transaction: the pool's, or more */
    unsigned default_timeout_ms;   /* the pool's */
    const char *application_name;  /* the catalogue's */
    struct servers *servers;       /* the catalogue's */
    PGconn *connection;            /* owned; NULL: none, or it broke */
    size_t server;                 /* which it is to */
    unsigned distrusts;            /* of the servers, when it was made */
    bool is_heartbeat;             /* the pool's */
    struct prepared prepared;      /* on the connection */
};

/* What PostgreSQL calls the connections of a node; its id stands behind it. */
#define NODE_APPLICATION_PREFIX "larder node "

/* Makes the connection; bounded. The session has none before. */
[[nodiscard]] bool session_connect(struct catalogue_session *session, struct error *error);
/* Closes it, if there is one. */
void session_disconnect(struct catalogue_session *session);
/* Whether an idle session has a connection that PostgreSQL did not close meanwhile, and that is
 * younger than the last silence. Costs one poll(2). Drops a dead one. */
[[nodiscard]] bool session_is_alive(struct catalogue_session *session);

/* Waits for the answer of what was sent and gives its result: the first that is an
 * error, else the last. NULL with *error when the connection broke or the time ran
 * out, after which the session is disconnected; an error that PostgreSQL answered
 * becomes *error as well, but the session stays. `what` names the statement. */
[[nodiscard]] PGresult *session_receive(struct catalogue_session *session, unsigned timeout_ms,
                                        const char *what, struct error *error);

/* What an error that PostgreSQL answered means. */
void session_error_of(const PGresult *result, const char *what, struct error *error);

/* The pool's servers, for a connection beside its sessions. */
[[nodiscard]] struct servers *catalogue_servers(const struct catalogue *catalogue);
/* Makes one; the caller's. Of `session` what it is to be is given, and filled in what it is. */
[[nodiscard]] bool catalogue_connect(struct catalogue *catalogue, struct catalogue_session *session,
                                     struct error *error);

/* Runs SQL without parameters or rows, of several statements if need be. */
[[nodiscard]] bool session_execute(struct catalogue_session *session, const char *sql,
                                   unsigned timeout_ms, struct error *error);

/* Milliseconds of the monotonic clock. */
[[nodiscard]] int64_t monotonic_ms(void);

static inline void cleanup_result_slot(PGresult **slot)
{
    PQclear(*slot);
}
#define cleanup_result cleanup(cleanup_result_slot)

#endif
