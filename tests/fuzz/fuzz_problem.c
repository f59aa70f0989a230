/* server/problem.h: whatever an error quotes, and whatever a reference or a sandbox's id holds,
 * the problem is one JSON object in UTF-8, with the code and its status; text that is UTF-8
 * comes out as it went in. The first byte is the code, the rest the words. */
#include "server/problem.h"
#include "text_input.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* jansson has a validator of its own. */
static bool is_utf8(const char *text)
{
    json_t *string = json_string(text);
    json_decref(string);
    return string != NULL;
}

static void keep_ascii(char *text)
{
    char *out = text;
    for (; *text; text++)
        if ((unsigned char)*text < 0x80)
            *out++ = *text;
    *out = '\0';
}

/* What was no UTF-8 is something else, and all the rest is still there. */
static void expect_text(const json_t *json, const char *text)
{
    const char *found = json_string_value(json);
    assert(found);
    if (is_utf8(text)) {
        assert(strcmp(found, text) == 0);
        return;
    }
    assert(strstr(found, "\xef\xbf\xbd"));
    cleanup_free char *one = strdup(found);
    cleanup_free char *other = strdup(text);
    assert(one && other);
    keep_ascii(one);
    keep_ascii(other);
    assert(strcmp(one, other) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    if (size_bytes < 1)
        return -1;
    enum error_code code = (enum error_code)(1 + data[0] % (ERROR_CODE_COUNT - 1));
    cleanup_free char *words = text_input(data + 1, size_bytes - 1);
    struct error error;
    error_set(&error, code, "%s", words);
    error_context(&error, "about %.20s", words);
    error.retry_after_seconds = data[0];
    const char *ids[] = {words, "s1"};
    const struct id_list sandboxes = {ids, 2};
    const struct problem problem = {.error = &error, .reference = words, .sandboxes = &sandboxes};
    cleanup_json_writer struct json_writer out = {0};
    problem_write(&out, NULL, &problem);

    json_error_t where;
    json_t *json = json_loadb(out.bytes, out.size_bytes, JSON_REJECT_DUPLICATES, &where);
    assert(json && json_is_object(json) && is_utf8(error.message));
    assert(strcmp(json_string_value(json_object_get(json, "code")), error_code_name(code)) == 0);
    assert(error_code_from_name(error_code_name(code)) == code);
    assert(json_integer_value(json_object_get(json, "status")) == error_code_status(code));
    assert(json_integer_value(json_object_get(json, "retry_after")) == data[0]);
    assert(strcmp(json_string_value(json_object_get(json, "detail")), error.message) == 0);
    expect_text(json_object_get(json, "reference"), words);
    expect_text(json_array_get(json_object_get(json, "sandboxes"), 0), words);
    json_decref(json);
    return 0;
}
