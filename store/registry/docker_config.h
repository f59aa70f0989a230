/* Docker's config.json, as far as it says how to log in to registries: `auths`,
 * `credHelpers` and `credsStore` (docker/cli, config/configfile). Results live in
 * the caller's arena. They are secrets: no error message of this file repeats a byte
 * of the document. Knows nothing of files or processes. Any thread.
 */
#ifndef LARDER_STORE_REGISTRY_DOCKER_CONFIG_H
#define LARDER_STORE_REGISTRY_DOCKER_CONFIG_H

#include "store/arena.h"
#include "store/error.h"

#include <stdbool.h>
#include <stddef.h>

enum docker_login_kind {
    DOCKER_LOGIN_NONE,
    DOCKER_LOGIN_PASSWORD,
    DOCKER_LOGIN_IDENTITY_TOKEN, /* an OAuth2 refresh token */
};

struct docker_login {
    enum docker_login_kind kind;
    const char *username; /* NULL unless a password's; may be NULL for a token */
    const char *secret;   /* the password or the token */
};

struct docker_config {
    struct docker_login login; /* of `auths` */
    const char *helper;        /* NULL, or X of `docker-credential-X`, which is asked first */
    const char *helper_server; /* what to ask it for */
};

/* What the document has for `registry` (canonical: `docker.io`, `host:port`); Docker
 * Hub is also found under its historic key `https://index.docker.io/v1/`. Fails with
 * ERROR_PULL_FAILED when it is not such a document. */
[[nodiscard]] bool docker_config_find(struct arena *arena, const void *bytes, size_t size,
                                      const char *registry, struct docker_config *config,
                                      struct error *error);

/* The answer of a credential helper: {"ServerURL", "Username", "Secret"}. */
[[nodiscard]] bool docker_config_parse_helper(struct arena *arena, const void *bytes, size_t size,
                                              struct docker_login *login, struct error *error);

#endif
