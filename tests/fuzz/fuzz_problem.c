/* server/problem.h: whatever an error quotes, the problem is one JSON object in UTF-8, with
 * the code and its status. The first byte is the code, the rest the words. */
#include "server/problem.h"
#include "text_input.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

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
    const char *ids[] = {error.message, "s1"};
    const struct id_list sandboxes = {ids, 2};
    const struct problem problem = {
        .error = &error, .reference = error.message, .sandboxes = &sandboxes};
    cleanup_json_writer struct json_writer out = {0};
    problem_write(&out, NULL, &problem);

    json_error_t where;
    json_t *json = json_loadb(out.bytes, out.size_bytes, JSON_REJECT_DUPLICATES, &where);
    assert(json && json_is_object(json));
    assert(strcmp(json_string_value(json_object_get(json, "code")), error_code_name(code)) == 0);
    assert(json_integer_value(json_object_get(json, "status")) == error_code_status(code));
    assert(strcmp(json_string_value(json_object_get(json, "detail")), error.message) == 0);
    json_decref(json);
    return 0;
}
