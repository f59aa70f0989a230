/* /pins: references that stay. */
#include "server/node.h"
#include "server/resources.h"
#include "server/shapes.h"

#include <string.h>

enum { PATTERN_MAX_BYTES = 1024 };

/* A glob is of the characters of references and `*`; it is matched against canonical
 * references as it stands. */
static bool check_glob(const char *glob, struct error *error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-/:@[]*";
    if (strlen(glob) <= PATTERN_MAX_BYTES && strspn(glob, allowed) == strlen(glob))
        return true;
    return error_set(error, ERROR_INVALID_REFERENCE,
                     "A pattern has at most %d bytes: those of references, and \"*\"",
                     PATTERN_MAX_BYTES);
}

static bool read_pattern(struct request *request, const char **pattern, struct error *error)
{
    struct reference reference;
    *pattern = request->variable;
    if (strchr(request->variable, '*'))
        return check_glob(request->variable, error);
    if (!reference_parse(request->variable, &reference, error))
        return false;
    char *canonical = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&reference, canonical);
    *pattern = canonical;
    return true;
}

bool pins_list(struct request *request, struct error *error)
{
    struct pin_list pins;
    if (!catalogue_list_pins(request->node->catalogue, &request->arena, &pins, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "pins");
    for (size_t i = 0; i < pins.count; i++)
        shape_pin(&out, NULL, &pins.pins[i]);
    json_end_array(&out);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}

bool pins_put(struct request *request, struct error *error)
{
    const char *pattern = NULL;
    struct pin pin;
    bool created = false;
    if (!read_pattern(request, &pattern, error) ||
        !catalogue_put_pin(request->node->catalogue, pattern, &request->arena, &pin, &created,
                           error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    shape_pin(&out, NULL, &pin);
    request_answer_json(request, created ? 201 : 200, &out);
    return true;
}

bool pins_remove(struct request *request, struct error *error)
{
    const char *pattern = NULL;
    if (!read_pattern(request, &pattern, error) ||
        !catalogue_remove_pin(request->node->catalogue, pattern, error))
        return false;
    request_answer_empty(request, 204);
    return true;
}
