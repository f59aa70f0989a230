#include "store/registry/json_document.h"
#include "store/registry/registry_internal.h"

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
void exchange_read_words(struct registry_client *client, struct exchange *exchange)
{
    struct error ignored;
    cleanup_json json_t *json = json_document_load(exchange->error_body, exchange->error_body_size,
                                                   "", ERROR_PULL_FAILED, &ignored);
    exchange->error_body[exchange->error_body_size] = '\0';
    const char *text = json ? message_of(json) : exchange->error_body;
    if (text && text[0] != '<' && !exchange->came_from_elsewhere &&
        !secrets_repeated(client, exchange->registry, text))
        exchange->words = excerpt_of(text);
}
