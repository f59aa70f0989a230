#include "server/json_fields.h"

#include "store/registry/json_document.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct target {
    const char *host;
    const char *kind;
    int64_t ttl;
    bool has_ttl;
    bool force;
    json_t *rootfs;
};

static bool read_target(const char *text, json_t **document, struct target *target,
                        struct error *error)
{
    static const char *const kinds[] = {"big", "small", NULL};
    const struct json_field fields[] = {
        {.name = "host",
         .type = FIELD_TEXT,
         .required = true,
         .text = &target->host,
         .max_length = 5},
        {.name = "kind", .type = FIELD_TEXT, .text = &target->kind, .choices = kinds},
        {.name = "ttl",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &target->ttl,
         .min = 1,
         .max = 60,
         .given = &target->has_ttl},
        {.name = "force", .type = FIELD_BOOL, .boolean = &target->force},
        {.name = "rootfs", .type = FIELD_OBJECT, .object = &target->rootfs},
    };
    *document = json_loads(text, 0, NULL);
    cr_assert(*document, "%s is not JSON", text);
    return json_fields_read(*document, "outer.", fields, COUNT(fields), error);
}

Test(json_fields, what_is_given_is_taken_and_the_rest_left_alone)
{
    cleanup_json json_t *document = NULL;
    struct target target = {.kind = "as it was", .ttl = 7};
    struct error error;
    cr_assert(read_target("{\"host\": \"h\", \"force\": true, \"rootfs\": {\"a\": 1}}", &document,
                          &target, &error));
    cr_expect_str_eq(target.host, "h");
    cr_expect_str_eq(target.kind, "as it was");
    cr_expect_eq(target.ttl, 7);
    cr_expect(!target.has_ttl);
    cr_expect(target.force);
    cr_expect(json_is_object(target.rootfs));
}

Test(json_fields, null_is_as_good_as_absent_where_it_is_allowed)
{
    cleanup_json json_t *document = NULL;
    struct target target = {.ttl = 7};
    struct error error;
    cr_assert(read_target("{\"host\": \"h\", \"ttl\": null}", &document, &target, &error));
    cr_expect_eq(target.ttl, 7);
    cr_expect(!target.has_ttl);
}

Test(json_fields, limits_are_inclusive)
{
    static const char *const texts[] = {"{\"host\": \"h\", \"ttl\": 1}",
                                        "{\"host\": \"hhhhh\", \"ttl\": 60, \"kind\": \"big\"}"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        cleanup_json json_t *document = NULL;
        struct target target = {0};
        struct error error = {0};
        cr_expect(read_target(texts[i], &document, &target, &error), "%s: %s", texts[i],
                  error.message);
        cr_expect(target.has_ttl);
    }
}

Test(json_fields, a_refusal_names_the_field_and_what_is_allowed)
{
    static const struct {
        const char *text;
        const char *name;
        const char *allowed;
    } rows[] = {
        {"{}", "\"outer.host\" is missing", "a string of 1 to 5 bytes"},
        {"{\"host\": null}", "\"outer.host\"", "a string of 1 to 5 bytes"},
        {"{\"host\": \"\"}", "\"outer.host\"", "a string of 1 to 5 bytes"},
        {"{\"host\": \"hhhhhh\"}", "\"outer.host\"", "a string of 1 to 5 bytes"},
        {"{\"host\": 1}", "\"outer.host\"", "a string of 1 to 5 bytes"},
        {"{\"host\": \"h\", \"kind\": \"Big\"}", "\"outer.kind\"", "one of big, small"},
        {"{\"host\": \"h\", \"ttl\": 0}", "\"outer.ttl\"", "from 1 to 60, or null"},
        {"{\"host\": \"h\", \"ttl\": 61}", "\"outer.ttl\"", "from 1 to 60, or null"},
        {"{\"host\": \"h\", \"ttl\": 1.0}", "\"outer.ttl\"", "a whole number"},
        {"{\"host\": \"h\", \"ttl\": \"1\"}", "\"outer.ttl\"", "a whole number"},
        {"{\"host\": \"h\", \"force\": 1}", "\"outer.force\"", "true or false"},
        {"{\"host\": \"h\", \"force\": null}", "\"outer.force\"", "true or false"},
        {"{\"host\": \"h\", \"rootfs\": []}", "\"outer.rootfs\"", "an object"},
        {"{\"host\": \"h\", \"hots\": 1}", "\"outer.hots\"", "host, kind, ttl, force, rootfs"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cleanup_json json_t *document = NULL;
        struct target target = {0};
        struct error error = {0};
        cr_expect(!read_target(rows[i].text, &document, &target, &error), "%s must be refused",
                  rows[i].text);
        cr_expect_eq(error.code, ERROR_INVALID_ARGUMENT);
        cr_expect(strstr(error.message, rows[i].name) && strstr(error.message, rows[i].allowed),
                  "%s: expected %s and %s in: %s", rows[i].text, rows[i].name, rows[i].allowed,
                  error.message);
    }
}
