#include "server/identity.h"

#include "store/excerpt.h"

#include <string.h>

static const char *const role_names[] = {
    [ROLE_UNSAID] = "nobody", [ROLE_ANYBODY] = "anybody", [ROLE_READER] = "reader",
    [ROLE_HOST] = "host",     [ROLE_ADMIN] = "admin",
};

const char *role_name(enum role role)
{
    return role_names[role];
}

bool role_parse(const char *text, enum role *role, struct error *error)
{
    for (int i = ROLE_READER; i <= ROLE_ADMIN; i++) {
        if (strcmp(text, role_names[i]) != 0)
            continue;
        *role = (enum role)i;
        return true;
    }
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "There is no role \"%s\"; there are reader, host and admin",
                     excerpt_of(text).text);
}

const char *identity_source_name(enum identity_source source)
{
    static const char *const names[] = {
        [IDENTITY_NOBODY] = "nobody", [IDENTITY_OPEN] = "open",
        [IDENTITY_TOKEN] = "token",   [IDENTITY_CERTIFICATE] = "certificate",
        [IDENTITY_SOCKET] = "socket",
    };
    return names[source];
}

bool identity_name_is_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._:@-";
    size_t length = strlen(name);
    return length > 0 && length < IDENTITY_NAME_SIZE && strspn(name, allowed) == length;
}
