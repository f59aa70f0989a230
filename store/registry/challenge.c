#include "store/registry/challenge.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* A position in the header's value. */
struct cursor {
    const char *at;
};

/* RFC 9110 section 5.6.2. */
static bool is_token_character(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c);
}

static void skip_blanks(struct cursor *cursor)
{
    cursor->at += strspn(cursor->at, " \t");
}

/* Empty list elements are allowed (RFC 9110, section 5.6.1.2). */
static void skip_commas(struct cursor *cursor)
{
    cursor->at += strspn(cursor->at, " \t,");
}

/* Copies a token; false when there is none, or when it does not fit. */
static bool take_token(struct cursor *cursor, char *out, size_t out_size)
{
    size_t length = 0;
    while (is_token_character(cursor->at[length]))
        length++;
    if (length == 0 || length >= out_size)
        return false;
    memcpy(out, cursor->at, length);
    out[length] = '\0';
    cursor->at += length;
    return true;
}

/* A quoted string with its escapes resolved; control characters are refused. */
static bool take_quoted(struct cursor *cursor, char *out, size_t out_size)
{
    size_t length = 0;
    for (cursor->at++; *cursor->at != '"'; cursor->at++) {
        if (*cursor->at == '\\')
            cursor->at++;
        unsigned char c = (unsigned char)*cursor->at;
        if ((c < ' ' && c != '\t') || c == 0x7f || length + 1 >= out_size)
            return false;
        out[length++] = (char)c;
    }
    cursor->at++;
    out[length] = '\0';
    return true;
}

static bool take_value(struct cursor *cursor, char *out, size_t out_size)
{
    if (*cursor->at == '"')
        return take_quoted(cursor, out, out_size);
    return take_token(cursor, out, out_size);
}

/* Is the next thing `name =`, and not the scheme of another challenge? */
static bool at_parameter(const struct cursor *cursor)
{
    const char *at = cursor->at;
    while (is_token_character(*at))
        at++;
    if (at == cursor->at)
        return false;
    at += strspn(at, " \t");
    return *at == '=';
}

/* The first of two equal parameters counts. */
static void keep(char *slot, size_t slot_size, const char *value)
{
    size_t length = strlen(value);
    if (!slot[0] && length < slot_size)
        memcpy(slot, value, length + 1);
}

static bool take_parameter(struct cursor *cursor, struct challenge *out)
{
    char name[32];
    char value[CHALLENGE_REALM_SIZE];
    if (!take_token(cursor, name, sizeof(name)))
        return false;
    skip_blanks(cursor);
    cursor->at++; /* '=', as at_parameter() saw */
    skip_blanks(cursor);
    if (!take_value(cursor, value, sizeof(value)))
        return false;
    if (strcasecmp(name, "realm") == 0)
        keep(out->realm, sizeof(out->realm), value);
    else if (strcasecmp(name, "service") == 0)
        keep(out->service, sizeof(out->service), value);
    else if (strcasecmp(name, "scope") == 0)
        keep(out->scope, sizeof(out->scope), value);
    return true;
}

/* `Negotiate YII=`: base64-like data instead of parameters. */
static void skip_token68(struct cursor *cursor)
{
    const char *at = cursor->at;
    while (is_token_character(*at) || *at == '/')
        at++;
    if (at == cursor->at)
        return;
    at += strspn(at, "=");
    const char *after = at + strspn(at, " \t");
    if (*after == ',' || *after == '\0')
        cursor->at = at;
}

static bool take_parameters(struct cursor *cursor, struct challenge *out)
{
    while (at_parameter(cursor)) {
        if (!take_parameter(cursor, out))
            return false;
        skip_blanks(cursor);
        if (*cursor->at != ',' && *cursor->at != '\0')
            return false;
        skip_commas(cursor);
    }
    return true;
}

static bool take_challenge(struct cursor *cursor, struct challenge *out)
{
    char scheme[32];
    struct challenge found = {0};
    if (!take_token(cursor, scheme, sizeof(scheme)))
        return false;
    if (*cursor->at != '\0' && !strchr(" \t,", *cursor->at))
        return false;
    skip_blanks(cursor);
    skip_token68(cursor);
    skip_blanks(cursor);
    if (!at_parameter(cursor) && *cursor->at != ',' && *cursor->at != '\0')
        return false;
    if (!take_parameters(cursor, &found))
        return false;

    if (strcasecmp(scheme, "basic") == 0)
        out->basic = true;
    if (strcasecmp(scheme, "bearer") == 0 && found.realm[0] && !out->bearer) {
        found.basic = out->basic;
        found.bearer = true;
        *out = found;
    }
    return true;
}

bool challenge_parse(const char *value, struct challenge *challenge)
{
    struct cursor cursor = {value};
    skip_commas(&cursor);
    while (*cursor.at) {
        if (!take_challenge(&cursor, challenge))
            return false;
        skip_commas(&cursor);
    }
    return true;
}
