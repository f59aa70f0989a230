#include "server/json_fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LIST_SIZE = 256 };

static void append(char *list, const char *text)
{
    size_t used = strlen(list);
    snprintf(list + used, LIST_SIZE - used, "%s%s", used > 0 ? ", " : "", text);
}

static const struct json_field *find_field(const struct json_field *fields, size_t field_count,
                                           const char *name)
{
    for (size_t i = 0; i < field_count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static bool refuse_unknown(const char *prefix, const char *name, const struct json_field *fields,
                           size_t field_count, struct error *error)
{
    char known[LIST_SIZE] = "";
    for (size_t i = 0; i < field_count; i++)
        append(known, fields[i].name);
    return error_set(error, ERROR_INVALID_ARGUMENT,
                     "There is no field \"%s%.64s\"; allowed here: %s", prefix, name, known);
}

/* What may stand there, for people. */
static void describe(const struct json_field *field, char text[LIST_SIZE])
{
    char choices[LIST_SIZE] = "";
    for (const char *const *choice = field->choices; choice && *choice; choice++)
        append(choices, *choice);
    switch (field->type) {
    case FIELD_TEXT:
        if (field->choices)
            snprintf(text, LIST_SIZE, "one of %.200s", choices);
        else
            snprintf(text, LIST_SIZE, "a string of 1 to %zu bytes", field->max_length);
        break;
    case FIELD_INT:
        snprintf(text, LIST_SIZE, "a whole number from %" PRId64 " to %" PRId64, field->min,
                 field->max);
        break;
    case FIELD_BOOL:
        snprintf(text, LIST_SIZE, "true or false");
        break;
    case FIELD_OBJECT:
        snprintf(text, LIST_SIZE, "an object");
        break;
    }
}

static bool refuse_value(const char *prefix, const struct json_field *field, struct error *error)
{
    char allowed[LIST_SIZE];
    describe(field, allowed);
    return error_set(error, ERROR_INVALID_ARGUMENT, "The field \"%s%s\" must be %s%s", prefix,
                     field->name, allowed, field->nullable ? ", or null" : "");
}

static bool take_text(const struct json_field *field, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    bool good = text && length >= 1 && (field->choices || length <= field->max_length);
    if (good && field->choices) {
        const char *const *choice = field->choices;
        while (*choice && strcmp(*choice, text) != 0)
            choice++;
        good = *choice;
    }
    if (good)
        *field->text = text;
    return good;
}

static bool take_int(const struct json_field *field, const json_t *value)
{
    int64_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < field->min || number > field->max)
        return false;
    *field->integer = number;
    return true;
}

static bool take_value(const struct json_field *field, json_t *value)
{
    switch (field->type) {
    case FIELD_TEXT:
        return take_text(field, value);
    case FIELD_INT:
        return take_int(field, value);
    case FIELD_BOOL:
        if (json_is_boolean(value))
            *field->boolean = json_is_true(value);
        return json_is_boolean(value);
    case FIELD_OBJECT:
        if (json_is_object(value))
            *field->object = value;
        return json_is_object(value);
    }
    return false;
}

bool json_fields_read(json_t *object, const char *prefix, const struct json_field *fields,
                      size_t field_count, struct error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
        if (!find_field(fields, field_count, name))
            return refuse_unknown(prefix, name, fields, field_count, error);

    for (size_t i = 0; i < field_count; i++) {
        const struct json_field *field = &fields[i];
        value = json_object_get(object, field->name);
        bool is_null = json_is_null(value) && field->nullable;
        if (!value && field->required) {
            char allowed[LIST_SIZE];
            describe(field, allowed);
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "The field \"%s%s\" is missing; it must be %s", prefix, field->name,
                             allowed);
        }
        if (value && !is_null && !take_value(field, value))
            return refuse_value(prefix, field, error);
        if (field->given)
            *field->given = value && !is_null;
    }
    return true;
}
