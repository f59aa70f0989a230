#include "server/problem.h"

#include <stdio.h>

static const char prefix[] = "urn:larder:problem:";

void problem_type(enum error_code code, char type[PROBLEM_TYPE_SIZE])
{
    size_t used = (size_t)snprintf(type, PROBLEM_TYPE_SIZE, "%s", prefix);
    const char *name = error_code_name(code);
    for (size_t i = 0; name[i] && used + 2 < PROBLEM_TYPE_SIZE; i++) {
        bool upper = name[i] >= 'A' && name[i] <= 'Z';
        if (upper && i > 0)
            type[used++] = '-';
        type[used++] = upper ? (char)(name[i] - 'A' + 'a') : name[i];
    }
    type[used] = '\0';
}

static void write_sandboxes(struct json_writer *out, const struct id_list *sandboxes)
{
    json_begin_array(out, "sandboxes");
    for (size_t i = 0; i < sandboxes->count; i++)
        json_write_text(out, NULL, sandboxes->ids[i]);
    json_end_array(out);
}

void problem_write(struct json_writer *out, const char *key, const struct problem *problem)
{
    const struct error *error = problem->error;
    char type[PROBLEM_TYPE_SIZE];
    problem_type(error->code, type);

    json_begin_object(out, key);
    json_write_text(out, "type", type);
    json_write_text(out, "title", error_code_title(error->code));
    json_write_int(out, "status", error_code_status(error->code));
    json_write_text(out, "detail", problem->detail ? problem->detail : error->message);
    json_write_text(out, "code", error_code_name(error->code));
    if (problem->sandboxes)
        write_sandboxes(out, problem->sandboxes);
    if (problem->reference)
        json_write_text(out, "reference", problem->reference);
    if (error->registry_status)
        json_write_int(out, "registry_status", error->registry_status);
    if (error->retry_after_seconds)
        json_write_int(out, "retry_after", error->retry_after_seconds);
    json_end_object(out);
}
