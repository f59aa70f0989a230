/* One HTTP request on its way: what came, and what will be answered.
 *
 * It belongs to its connection's event-loop thread until it is handed to a worker,
 * to that worker until it is answered, and to the loop again; never to two. All
 * memory goes with it.
 */
#ifndef LARDER_SERVER_REQUEST_H
#define LARDER_SERVER_REQUEST_H

#include "server/identity.h"
#include "server/json_writer.h"
#include "server/path.h"
#include "server/peer.h"
#include "server/problem.h"
#include "store/digest.h"

#include <jansson.h>
#include <microhttpd.h>

struct body_stream;
struct node;
struct http_loop;
struct http_server;
struct cached_answer;
struct file_part;
struct read_question;
struct reader;
struct request;
struct request_file;
struct route;

enum {
    REQUEST_ID_SIZE = 128 + 1,
    REQUEST_BODY_MAX_BYTES = 1 << 20,
};

/* Answers the request, or fails with the error to answer with. One on the loop may leave
 * the answer to the reader, or to a handler on a worker (`on_worker`). */
typedef bool route_handler(struct request *request, struct error *error);

enum request_phase {
    REQUEST_NEW,      /* the headers were not looked at yet */
    REQUEST_READING,  /* the body comes */
    REQUEST_RUNNING,  /* a worker or the pull watcher has it; its connection is suspended */
    REQUEST_ANSWERED, /* the response is queued */
};

/* The headers that someone here reads; NULL: not given. In MHD's memory. */
struct request_headers {
    const char *content_type;
    const char *request_id;
    const char *prefer;
    const char *range;
    const char *if_range;
    const char *if_match;
    const char *if_none_match;
    const char *accept;
    const char *accept_encoding;
    const char *host;
    const char *origin;
    const char *fetch_site;    /* Sec-Fetch-Site */
    bool wants_fresh;          /* Cache-Control: no-cache, or max-age=0 */
    const char *authorization; /* a secret */
    uint64_t content_length;
    bool has_body;
    bool expects_continue; /* the body comes only when we ask for it */
};

/* An answer that has to wait for a pull (pull_watch.h). */
struct request_wait {
    const char *pull_id;
    unsigned seconds; /* 0: was not asked to wait */
    int64_t deadline_us;
    struct request *next; /* of those who wait */
};

/* A read on its way (reader.h). */
struct request_read {
    const struct read_question *question;
    bool fresh;           /* what was here before the request came does not do */
    uint64_t came;        /* after so many fences (fence_gate.h) */
    struct request *next; /* of those who wait for the same */
};

/* An answer without an end in sight (pull_events.h). */
struct request_stream {
    bool is_open;
    bool finished;              /* nothing comes after what is pending */
    struct json_writer pending; /* owned; what is to be sent */
    size_t taken_bytes;         /* of it */
    struct digest last_sent;
    int64_t keep_alive_at_us;
};

/* A file as an answer (http_file.c). */
struct file_answer {
    unsigned status;
    const char *content_type;
    int fd;                  /* owned */
    struct file_part *parts; /* in the request's arena, as all that they name */
    size_t part_count;
};

struct request {
    struct arena arena;
    struct http_server *server;
    struct http_loop *loop;       /* of its connection */
    struct reader *reader;        /* the loop's */
    struct request *next_resumed; /* in the loop's inbox */
    struct node *node;
    struct MHD_Connection *connection;
    enum request_phase phase;
    bool must_close; /* the connection cannot be trusted after this */
    int64_t started_us;
    int64_t queued_us; /* when it was handed to the workers */
    char id[REQUEST_ID_SIZE];

    const struct peer *peer; /* its connection's */
    struct identity who;     /* by auth.h; of an open route: nobody */

    const char *method;
    const char *target;          /* raw */
    const char *target_in_place; /* libmicrohttpd's, of which target is a copy */
    struct path path;
    struct query query;
    const struct route *route; /* NULL: none */
    route_handler *on_worker;  /* NULL: the route's */
    const char *variable;      /* of the route's pattern: an id, a digest, a reference */
    struct request_headers headers;

    char *body; /* owned */
    size_t body_size_bytes;
    size_t body_seen_bytes;     /* also what was thrown away */
    const char *remote;         /* of a streamed body, which may outlive its connection */
    struct body_stream *upload; /* owned with its reader; NULL: the body is not streamed */
    json_t *json;               /* owned; the body when the route takes one; NULL: none came */

    struct error early;    /* code set: what was wrong before a handler saw it */
    const char *allow;     /* of a 405 */
    const char *challenge; /* of a 401 */
    bool memory_is_right;  /* the handler itself evicted what it changed */
    struct request_wait wait;
    struct request_read read;
    struct request_stream stream;
    struct request_file *file;             /* owned; NULL: none is sent */
    const char *about_reference;           /* for a problem */
    const struct id_list *about_sandboxes; /* for a problem */
    const char *audit_detail;              /* of what the body asks for; NULL: nothing to tell */
    struct audit_part *audit_parts;        /* of several changes, the last first (audit.h) */

    struct MHD_Response *response; /* owned; NULL until it is answered */
    unsigned status;
    int64_t response_size_bytes;
};

/* The node is shutting down: who waits for something answers with what there is. */
[[nodiscard]] bool request_should_hurry(const struct request *request);

/* --- answering; exactly once for each request --- */

/* Takes the writer's buffer as an application/json body, in a coding that the client likes when
 * it is large; or, to GET, 503 when the node has too many large answers that nobody reads: then it
 * is false. */
bool request_answer_json(struct request *request, unsigned status, struct json_writer *out);
/* The same with another type. */
bool request_answer_coded(struct request *request, unsigned status, const char *content_type,
                          struct json_writer *out);
/* A body that is sent as it is; takes the buffer. */
void request_answer_text(struct request *request, unsigned status, const char *content_type,
                         struct json_writer *out);
/* No body: 204, 304. */
void request_answer_empty(struct request *request, unsigned status);
/* Would so many bytes still be answered, or have clients not read what they asked for? */
[[nodiscard]] bool request_has_room(const struct request *request, size_t size_bytes);
/* A finished answer with its entity tag, or 304 when the request knows it; or 503, as above:
 * then it is false. Takes the hold. */
bool request_answer_cached(struct request *request, struct cached_answer *cached);
/* Parts of a file; takes the fd. False with the error, and no answer. */
[[nodiscard]] bool request_answer_file(struct request *request, struct file_answer *answer,
                                       struct error *error);
/* A body of that size; `next` gives at most piece_bytes at a time. */
void request_answer_pieces(struct request *request, unsigned status, const char *content_type,
                           uint64_t size_bytes, size_t piece_bytes, MHD_ContentReaderCallback next);
/* What `read` gives, which gets the request; see MHD_ContentReaderCallback. */
void request_answer_stream(struct request *request, const char *content_type,
                           MHD_ContentReaderCallback read);
void request_answer_problem(struct request *request, const struct error *error);
/* Fails with what a node says that has too much to do: `why` is its sentence. */
bool request_refuse_busy(const char *why, struct error *error);
/* For one that is told within an answer. */
void request_count_problem(const struct error *error);
/* What the client may read of it. */
[[nodiscard]] const char *request_public_detail(struct request *request, const struct error *error);

/* Adds a header to the answer, after it was made. */
void request_add_header(struct request *request, const char *name, const char *value);

/* --- reading what came; errors are ERROR_INVALID_ARGUMENT naming the parameter --- */

[[nodiscard]] const char *request_query(const struct request *request, const char *name);
[[nodiscard]] bool request_query_bool(const struct request *request, const char *name,
                                      bool default_value, bool *value, struct error *error);
/* `limit` of every list: 1 to 1000, 100 by default. */
[[nodiscard]] bool request_query_limit(const struct request *request, size_t *limit,
                                       struct error *error);

#endif
