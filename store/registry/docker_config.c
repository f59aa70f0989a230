#include "store/registry/docker_config.h"

#include "store/registry/json_document.h"

#include <stdint.h>
#include <string.h>

static const char hub_key[] = "https://index.docker.io/v1/";

/* Says what is wrong without a word of the document. */
static bool refuse(struct error *error, const char *what)
{
    return error_set(error, ERROR_PULL_FAILED, "Docker's config file cannot be used: %s", what);
}

/* jansson quotes what it stumbles over, so its reason is thrown away. */
static json_t *load(const void *bytes, size_t size, const char *what, struct error *error)
{
    struct error reason;
    json_t *json = json_document_load(bytes, size, what, ERROR_PULL_FAILED, &reason);
    if (!json)
        error_set(error, ERROR_PULL_FAILED, "%s is not a valid JSON object", what);
    return json;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Standard base64 with padding (RFC 4648, section 4) into a NUL-terminated text; NULL
 * when it is malformed. A NUL inside ends the text, as it does for Docker. */
static char *decode_base64(struct arena *arena, const char *text)
{
    size_t length = strlen(text);
    size_t padding = length >= 1 && text[length - 1] == '=' ? 1 : 0;
    padding += length >= 2 && padding && text[length - 2] == '=' ? 1 : 0;
    if (length % 4 != 0)
        return NULL;

    char *out = arena_alloc(arena, length / 4 * 3 + 1);
    size_t used = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < length - padding; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            return NULL;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0)
            out[used++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    out[used] = '\0';
    return out;
}

static bool is_path_of_registry(const char *path)
{
    static const char *const paths[] = {"", "/", "/v1", "/v1/", "/v2", "/v2/"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (strcmp(path, paths[i]) == 0)
            return true;
    return false;
}

/* Does a key of `auths` mean that host? Older tools wrote whole URLs. */
static bool key_is_host(const char *key, const char *host)
{
    if (strncmp(key, "https://", 8) == 0)
        key += 8;
    else if (strncmp(key, "http://", 7) == 0)
        key += 7;
    size_t length = strlen(host);
    return strncasecmp(key, host, length) == 0 && is_path_of_registry(key + length);
}

static bool key_is_registry(const char *key, const char *registry)
{
    if (key_is_host(key, registry))
        return true;
    return strcmp(registry, "docker.io") == 0 &&
           (key_is_host(key, "index.docker.io") || key_is_host(key, "registry-1.docker.io"));
}

/* The exact key first, then any other spelling of it. */
static json_t *find_entry(json_t *object, const char *registry, const char **found_key)
{
    const char *exact = strcmp(registry, "docker.io") == 0 ? hub_key : registry;
    *found_key = exact;
    json_t *entry = json_document_member(object, exact);
    if (entry)
        return entry;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!json_is_null(value) && key_is_registry(key, registry)) {
            *found_key = key;
            return value;
        }
    }
    return NULL;
}

static const char *text_of(struct arena *arena, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && text[0] ? arena_strdup(arena, text) : NULL;
}

/* `auth` is base64 of "user:password". */
static bool read_auth(struct arena *arena, const char *auth, struct docker_login *out,
                      struct error *error)
{
    char *pair = decode_base64(arena, auth);
    char *colon = pair ? strchr(pair, ':') : NULL;
    if (!colon || colon == pair)
        return refuse(error, "an \"auth\" in it is not base64 of user:password");
    *colon = '\0';
    *out = (struct docker_login){DOCKER_LOGIN_PASSWORD, pair, colon + 1};
    return true;
}

static bool read_login(struct arena *arena, const json_t *entry, struct docker_login *out,
                       struct error *error)
{
    const char *token = text_of(arena, entry, "identitytoken");
    const char *auth = text_of(arena, entry, "auth");
    const char *username = text_of(arena, entry, "username");
    const char *password = text_of(arena, entry, "password");
    *out = (struct docker_login){0};
    if (token)
        *out = (struct docker_login){DOCKER_LOGIN_IDENTITY_TOKEN, NULL, token};
    else if (auth)
        return read_auth(arena, auth, out, error);
    else if (username && password)
        *out = (struct docker_login){DOCKER_LOGIN_PASSWORD, username, password};
    return true;
}

/* The name becomes part of a program's name: letters, digits, '-', '_' and '.'. */
static bool is_helper_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-_.";
    size_t length = strlen(name);
    return length > 0 && length <= 64 && strspn(name, allowed) == length;
}

static bool read_helper(struct arena *arena, const json_t *json, const char *registry,
                        struct docker_config *out, struct error *error)
{
    const char *server;
    json_t *helper = find_entry(json_document_member(json, "credHelpers"), registry, &server);
    if (!helper) {
        helper = json_document_member(json, "credsStore");
        server = strcmp(registry, "docker.io") == 0 ? hub_key : registry;
    }
    if (!helper || (json_is_string(helper) && json_string_length(helper) == 0))
        return true;
    if (!json_is_string(helper) || !is_helper_name(json_string_value(helper)))
        return refuse(error, "the name of a credential helper in it is not one");
    out->helper = arena_strdup(arena, json_string_value(helper));
    out->helper_server = arena_strdup(arena, server);
    return true;
}

bool docker_config_find(struct arena *arena, const void *bytes, size_t size, const char *registry,
                        struct docker_config *config, struct error *error)
{
    struct docker_config out = {0};
    cleanup_json json_t *json = load(bytes, size, "Docker's config file", error);
    if (!json || !read_helper(arena, json, registry, &out, error))
        return false;
    const char *key;
    json_t *entry = find_entry(json_document_member(json, "auths"), registry, &key);
    if (!read_login(arena, entry, &out.login, error))
        return false;
    *config = out;
    return true;
}

bool docker_config_parse_helper(struct arena *arena, const void *bytes, size_t size,
                                struct docker_login *login, struct error *error)
{
    cleanup_json json_t *json = load(bytes, size, "the credential helper's answer", error);
    if (!json)
        return false;
    const char *username = text_of(arena, json, "Username");
    const char *secret = text_of(arena, json, "Secret");
    *login = (struct docker_login){0};
    if (secret && username && strcmp(username, "<token>") == 0)
        *login = (struct docker_login){DOCKER_LOGIN_IDENTITY_TOKEN, NULL, secret};
    else if (secret && username)
        *login = (struct docker_login){DOCKER_LOGIN_PASSWORD, username, secret};
    return true;
}
