/* store/registry/docker_config.h: logins are whole, helpers' names are harmless. */
#include "store/registry/docker_config.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static void check_login(const struct docker_login *login)
{
    assert(login->kind == DOCKER_LOGIN_NONE || login->secret);
    assert(login->kind != DOCKER_LOGIN_PASSWORD || (login->username && login->username[0]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    static const char *const registries[] = {"docker.io", "ghcr.io", "localhost:5000"};
    for (size_t i = 0; i < sizeof(registries) / sizeof(registries[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct docker_config config;
        struct error error = {0};
        if (!docker_config_find(&arena, data, size_bytes, registries[i], &config, &error)) {
            assert(error.code == ERROR_PULL_FAILED);
            continue;
        }
        check_login(&config.login);
        assert(!config.helper || (!strchr(config.helper, '/') && config.helper_server));
    }
    cleanup_arena struct arena arena = {0};
    struct docker_login login;
    struct error error = {0};
    if (docker_config_parse_helper(&arena, data, size_bytes, &login, &error))
        check_login(&login);
    return 0;
}
