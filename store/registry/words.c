#include "store/registry/json_document.h"
#include "store/registry/registry_internal.h"

#include <openssl/evp.h>
#include <string.h>

static bool holds(const char *text, const char *secret)
{
    return secret && secret[0] && strstr(text, secret);
}

/* The password of `Basic …`, or what follows `Bearer`, also in the encoding it is sent in. */
static bool repeats_authorization(const char *text, const char *header)
{
    const char *space = header ? strchr(header, ' ') : NULL;
    if (!space)
        return false;
    const char *encoded = space + 1;
    if (holds(text, encoded) || strncmp(header, "Basic ", 6) != 0)
        return holds(text, encoded);
    size_t length = strlen(encoded);
    cleanup_free char *pair = calloc(1, length + 1); /* longer than what it decodes to */
    if (!pair)
        abort(); /* out of memory, as in the arena */
    EVP_DecodeBlock((unsigned char *)pair, (const unsigned char *)encoded, (int)length);
    const char *colon = strchr(pair, ':');
    return colon && holds(text, colon + 1);
}

static bool repeats_form(const char *text, const struct exchange *exchange)
{
    if (!exchange->form_secret)
        return false;
    char *escaped = curl_easy_escape(NULL, exchange->form_secret, 0);
    bool found = holds(text, exchange->form_secret) || holds(text, escaped);
    curl_free(escaped);
    return found;
}

bool exchange_repeats_secret(const struct exchange *exchange, const char *text)
{
    return repeats_authorization(text, exchange->authorization) || repeats_form(text, exchange);
}

static const char *text_member(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text && text[0] ? text : NULL;
}

/* `{"errors": [{"code", "message"}]}` (distribution-spec, "Error codes"), or what token
 * realms say; NULL: no such. */
static const char *message_of(const json_t *json)
{
    static const char *const others[] = {"details", "message", "error_description", "error"};
    json_t *first = json_array_get(json_object_get(json, "errors"), 0);
    const char *text = text_member(first, "message");
    if (!text)
        text = text_member(first, "code");
    for (size_t i = 0; !text && i < sizeof(others) / sizeof(others[0]); i++)
        text = text_member(json, others[i]);
    return text;
}

/* Of other JSON nothing, of a page for people neither; any other body as it is. */
void exchange_read_words(struct exchange *exchange)
{
    struct error ignored;
    cleanup_json json_t *json = json_document_load(exchange->error_body, exchange->error_body_size,
                                                   "", ERROR_PULL_FAILED, &ignored);
    exchange->error_body[exchange->error_body_size] = '\0';
    const char *text = json ? message_of(json) : exchange->error_body;
    if (text && text[0] != '<' && !exchange->came_from_elsewhere &&
        !exchange_repeats_secret(exchange, text))
        exchange->words = excerpt_of(text);
}
