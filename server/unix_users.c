#include "server/unix_users.h"

#include "store/arena.h"
#include "store/excerpt.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

struct unix_user {
    uid_t uid;
    struct identity identity;
};

struct unix_users {
    uid_t own_uid;
    size_t count;
    struct unix_user *each; /* owned */
};

static bool find_uid(const char *text, uid_t *uid)
{
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9') {
        *uid = (uid_t)number;
        return *end == '\0' && errno == 0 && number < UINT32_MAX;
    }
    struct passwd *found = getpwnam(text); /* at the start, before there are threads */
    if (found)
        *uid = found->pw_uid;
    return found;
}

static bool refuse(struct error *error, const char *value, const char *why)
{
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "--unix-user \"%s\": %s; write USER=ROLE or USER=ROLE:NAME, as vmm=host:h7",
                     excerpt_of(value).text, why);
}

static bool read_user(const char *value, struct arena *arena, struct unix_user *user,
                      struct error *error)
{
    const char *equals = strchr(value, '=');
    if (!equals)
        return refuse(error, value, "it has no \"=\"");
    const char *name = arena_strndup(arena, value, (size_t)(equals - value));
    const char *role = arena_strndup(arena, equals + 1, strcspn(equals + 1, ":"));
    const char *colon = strchr(equals, ':');
    if (!find_uid(name, &user->uid))
        return refuse(error, value, "there is no such user");
    if (!role_parse(role, &user->identity.role, error))
        return error_context(error, "--unix-user");
    if (colon)
        name = colon + 1;
    if (!identity_name_is_valid(name))
        return refuse(error, value, "the name is not 1 to 255 letters, digits and any of ._:@-");
    user->identity.source = IDENTITY_SOCKET;
    snprintf(user->identity.name, sizeof(user->identity.name), "%s", name);
    return true;
}

struct unix_users *unix_users_new(const struct option_list *values, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct unix_users *users = calloc(1, sizeof(*users));
    if (!users || !(users->each = calloc(values->count + 1, sizeof(*users->each))))
        abort(); /* out of memory */
    users->own_uid = geteuid();
    for (; users->count < values->count; users->count++)
        if (!read_user(values->values[users->count], &arena, &users->each[users->count], error)) {
            unix_users_free(users);
            return NULL;
        }
    return users;
}

void unix_users_free(struct unix_users *users)
{
    if (!users)
        return;
    free(users->each);
    free(users);
}

bool unix_users_find(const struct unix_users *users, const struct peer *peer,
                     struct identity *identity)
{
    if (!peer->is_unix || !peer->uid_is_known)
        return false;
    for (size_t i = 0; i < users->count; i++) {
        if (users->each[i].uid != peer->uid)
            continue;
        *identity = users->each[i].identity;
        return true;
    }
    if (peer->uid != 0 && peer->uid != users->own_uid)
        return false;
    *identity = (struct identity){.role = ROLE_ADMIN, .source = IDENTITY_SOCKET};
    snprintf(identity->name, sizeof(identity->name), "uid:%u", peer->uid);
    return true;
}
