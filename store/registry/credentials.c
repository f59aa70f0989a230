#include "store/registry/credentials.h"

#include "store/registry/json_document.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *default_path(struct arena *arena)
{
    const char *directory = getenv("DOCKER_CONFIG");
    const char *home = getenv("HOME");
    if (directory && directory[0])
        return arena_printf(arena, "%s/config.json", directory);
    return home && home[0] ? arena_printf(arena, "%s/.docker/config.json", home) : NULL;
}

static bool cannot_read(struct error *error, const char *path)
{
    return error_set_errno(error, ERROR_PULL_FAILED, errno, "cannot read Docker's config file %s",
                           path);
}

/* The whole file into the arena, with room to see that it is too large. */
static bool read_whole(struct arena *arena, int fd, const char *path, char **bytes, size_t *size,
                       struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return cannot_read(error, path);
    if (!S_ISREG(status.st_mode) || status.st_size > JSON_DOCUMENT_MAX_BYTES)
        return error_set(error, ERROR_PULL_FAILED,
                         "Docker's config file %s is not a file of at most %d bytes", path,
                         JSON_DOCUMENT_MAX_BYTES);
    size_t capacity = (size_t)status.st_size;
    *bytes = arena_alloc(arena, capacity + 1);
    *size = 0;
    while (*size < capacity) {
        ssize_t count = read(fd, *bytes + *size, capacity - *size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return cannot_read(error, path);
        if (count == 0)
            break;
        *size += (size_t)count;
    }
    return true;
}

bool credentials_load(struct arena *arena, const char *config_path, const char *registry,
                      const atomic_bool *cancel, struct docker_login *login, struct error *error)
{
    const char *path = config_path ? config_path : default_path(arena);
    *login = (struct docker_login){0};
    if (!path)
        return true;
    cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && !config_path)
        return true;
    if (fd < 0)
        return cannot_read(error, path);

    char *bytes;
    size_t size;
    struct docker_config config;
    if (!read_whole(arena, fd, path, &bytes, &size, error))
        return false;
    if (!docker_config_find(arena, bytes, size, registry, &config, error))
        return error_context(error, "%s", path);
    if (config.helper &&
        !credential_helper_get(arena, config.helper, config.helper_server, cancel, login, error))
        return false;
    if (login->kind == DOCKER_LOGIN_NONE)
        *login = config.login;
    return true;
}
