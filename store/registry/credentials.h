/* Credentials for a registry, from Docker's config file and the credential helpers
 * that it names. Reads the file and runs the helper; may block for
 * CREDENTIAL_HELPER_SECONDS, or until *cancel (NULL: nobody cancels) becomes true, which fails with
 * ERROR_PULL_CANCELLED. Any thread.
 */
#ifndef LARDER_STORE_REGISTRY_CREDENTIALS_H
#define LARDER_STORE_REGISTRY_CREDENTIALS_H

#include "store/arena.h"
#include "store/error.h"
#include "store/registry/docker_config.h"

#include <stdatomic.h>

enum {
    CREDENTIAL_HELPER_SECONDS = 20,
    CREDENTIAL_HELPER_MAX_BYTES = 64 << 10,
};

/* `config_path` NULL means $DOCKER_CONFIG/config.json, else ~/.docker/config.json, and
 * then the file may be missing: no credentials. Fails with ERROR_PULL_FAILED. */
[[nodiscard]] bool credentials_load(struct arena *arena, const char *config_path,
                                    const char *registry, const atomic_bool *cancel,
                                    struct docker_login *login, struct error *error);

/* Runs `docker-credential-<helper> get` for `server`. A helper that knows nothing of it
 * gives DOCKER_LOGIN_NONE. */
[[nodiscard]] bool credential_helper_get(struct arena *arena, const char *helper,
                                         const char *server, const atomic_bool *cancel,
                                         struct docker_login *login, struct error *error);

#endif
