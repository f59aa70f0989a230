#include "server/auth.h"

#include "server/clock.h"
#include "server/cross_site.h"
#include "server/node.h"
#include "server/resources.h"
#include "server/routes.h"
#include "server/slowdown.h"
#include "server/tokens.h"
#include "server/unix_users.h"
#include "store/metrics.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

static const char scheme[] = "Bearer";
static const char challenge_missing[] = "Bearer realm=\"larder\"";
static const char challenge_wrong[] = "Bearer realm=\"larder\", error=\"invalid_token\"";

struct auth {
    const char *tokens_path; /* NULL: none */
    bool is_off;             /* --no-auth */
    bool metrics_are_open;
    struct unix_users *unix_users;
    struct slowdown *slowdown;
    pthread_rwlock_t lock; /* guards what follows */
    struct tokens *tokens; /* NULL without a path */
};

static bool check_options(const struct options *options, struct error *error)
{
    return !options->no_auth || !options->tokens ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "--tokens and --no-auth exclude each other: one says who may come in, the "
                     "other lets everybody in");
}

struct auth *auth_new(const struct options *options, struct error *error)
{
    struct auth *auth = calloc(1, sizeof(*auth));
    if (!auth)
        abort(); /* out of memory */
    pthread_rwlock_init(&auth->lock, NULL);
    auth->tokens_path = options->tokens;
    auth->is_off = options->no_auth;
    auth->metrics_are_open = options->open_metrics;
    auth->slowdown = slowdown_new();
    auth->unix_users = unix_users_new(&options->unix_users, error);
    if (auth->unix_users && check_options(options, error) && auth_reload(auth, error))
        return auth;
    auth_free(auth);
    return NULL;
}

void auth_free(struct auth *auth)
{
    if (!auth)
        return;
    unix_users_free(auth->unix_users);
    slowdown_free(auth->slowdown);
    tokens_free(auth->tokens);
    pthread_rwlock_destroy(&auth->lock);
    free(auth);
}

bool auth_reload(struct auth *auth, struct error *error)
{
    if (!auth->tokens_path)
        return true;
    struct tokens *fresh = tokens_load(auth->tokens_path, error);
    if (!fresh)
        return false;
    pthread_rwlock_wrlock(&auth->lock);
    struct tokens *former = auth->tokens;
    auth->tokens = fresh;
    pthread_rwlock_unlock(&auth->lock);
    tokens_free(former);
    return true;
}

/* --- telling who it is --- */

/* The token of `Bearer <token>` (RFC 6750, section 2.1); NULL: none. */
static const char *token_of(const char *header)
{
    size_t length = strlen(scheme);
    if (strncasecmp(header, scheme, length) != 0 || header[length] != ' ')
        return NULL;
    header += length;
    return header + strspn(header, " ");
}

static bool find_token(struct auth *auth, const char *header, struct identity *who)
{
    const char *token = token_of(header);
    pthread_rwlock_rdlock(&auth->lock);
    bool found = token && auth->tokens && tokens_find(auth->tokens, token, strlen(token), who);
    pthread_rwlock_unlock(&auth->lock);
    return found;
}

static bool find_certificate(struct auth *auth, const char *name, struct identity *who)
{
    pthread_rwlock_rdlock(&auth->lock);
    bool found = auth->tokens && tokens_find_certificate(auth->tokens, name, who);
    pthread_rwlock_unlock(&auth->lock);
    return found;
}

static bool is_open(const struct auth *auth, const struct peer *peer)
{
    return auth->is_off || (!auth->tokens_path && !peer->is_unix);
}

/* A token given to a node that has none means nothing, and does no harm. */
static bool identify(struct auth *auth, const struct request *request, struct identity *who)
{
    const char *header = request->headers.authorization;
    if (is_open(auth, request->peer)) {
        *who = (struct identity){.role = ROLE_ADMIN, .source = IDENTITY_OPEN};
        return true;
    }
    if (header)
        return find_token(auth, header, who);
    if (request->peer->certificate_name[0])
        return find_certificate(auth, request->peer->certificate_name, who);
    return unix_users_find(auth->unix_users, request->peer, who);
}

/* --- refusing --- */

static const char *what_is_missing(const struct peer *peer)
{
    if (peer->certificate_name[0])
        return "Your certificate is good, but its name has no line in the tokens file, and there "
               "is "
               "no token";
    if (peer->is_unix)
        return "Your user is not known here, and there is no token: --unix-user lets users in, or "
               "send \"Authorization: Bearer\" and a token";
    return "There is no token: send \"Authorization: Bearer\" and one";
}

static bool refuse_stranger(struct request *request, struct error *error)
{
    metric_add(METRIC_AUTH_REFUSED, 1, AUTH_MISSING);
    request->challenge = challenge_missing;
    return error_set(error, ERROR_UNAUTHORIZED, "%s", what_is_missing(request->peer));
}

static bool refuse_token(struct auth *auth, struct request *request, struct error *error)
{
    const struct peer *peer = request->peer;
    request->challenge = challenge_wrong;
    if (slowdown_count(auth->slowdown, peer->place, peer->place_size, clock_now_us() / 1000)) {
        metric_add(METRIC_AUTH_REFUSED, 1, AUTH_WRONG);
        return error_set(error, ERROR_UNAUTHORIZED, "The token is not one of this node's");
    }
    metric_add(METRIC_AUTH_REFUSED, 1, AUTH_SLOWED);
    request->must_close = true; /* the next guess costs a connection */
    error_set(error, ERROR_TOO_MANY_REQUESTS,
              "Too many wrong tokens came from your address; this one is wrong too");
    error->retry_after_seconds = 1;
    return false;
}

static bool forbid(const struct request *request, struct error *error)
{
    return error_set(error, ERROR_FORBIDDEN, "%s %s is for the role %s, and %s has the role %s",
                     request->route->method, request->route->pattern,
                     role_name(request->route->role), request->who.name,
                     role_name(request->who.role));
}

static enum role role_of(const struct auth *auth, const struct route *route)
{
    return route->handler == metrics_show && auth->metrics_are_open ? ROLE_ANYBODY : route->role;
}

bool auth_check(struct request *request, struct error *error)
{
    struct auth *auth = request->node->auth;
    enum role wanted = role_of(auth, request->route);
    if (wanted == ROLE_ANYBODY)
        return true;
    if (is_open(auth, request->peer) && !auth->is_off && !cross_site_check_host(request, error))
        return false;
    if (!identify(auth, request, &request->who))
        return request->headers.authorization ? refuse_token(auth, request, error)
                                              : refuse_stranger(request, error);
    return (wanted != ROLE_UNSAID && request->who.role >= wanted) || forbid(request, error);
}

const char *auth_only_host(const struct request *request)
{
    return request->who.role == ROLE_HOST ? request->who.name : NULL;
}

bool auth_check_host(struct request *request, const char *host, struct error *error)
{
    const char *only = auth_only_host(request);
    if (!only || strcmp(only, host) == 0)
        return true;
    return error_set(error, ERROR_FORBIDDEN,
                     "%s has the role host: the sandboxes of %s are not its own", only, host);
}
