#include "server/pull_answer.h"

#include "server/node.h"
#include "server/shapes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_WAIT_SECONDS = 600 };

/* The image of a pull that is done; false when it went meanwhile. */
static bool find_image(struct node *node, struct arena *arena, const struct pull *pull,
                       struct image_handle *handle)
{
    struct reference reference;
    struct platform platform;
    struct platform_choice choice = {.wanted = &platform, .preferred = &node->platform};
    struct error ignored;
    return pull->state == PULL_DONE && reference_parse(pull->reference, &reference, &ignored) &&
           platform_parse(pull->platform, &platform, &ignored) &&
           catalogue_find_image(node->catalogue, &reference, &choice, arena, handle, &ignored);
}

void pull_write(struct node *node, struct arena *arena, struct json_writer *out,
                const struct pull *pull)
{
    struct image_handle handle;
    bool has_image = find_image(node, arena, pull, &handle);
    shape_pull(out, NULL, pull, has_image ? &handle : NULL);
}

void pull_answer(struct request *request, unsigned status, const struct pull *pull)
{
    cleanup_json_writer struct json_writer out = {0};
    pull_write(request->node, &request->arena, &out, pull);
    request_answer_json(request, status, &out);
}

static void add_location(struct request *request, const struct pull *pull)
{
    char text[64];
    snprintf(text, sizeof(text), "/pulls/%s", pull->id);
    request_add_header(request, MHD_HTTP_HEADER_LOCATION, text);
    if (request->wait.seconds > 0) {
        snprintf(text, sizeof(text), "wait=%u", request->wait.seconds);
        request_add_header(request, "Preference-Applied", text);
    }
}

void pull_answer_accepted(struct request *request, const struct pull *pull)
{
    pull_answer(request, 202, pull);
    add_location(request, pull);
}

void pull_answer_waited(struct request *request, const struct pull *pull)
{
    struct error error = pull->error;
    switch (pull->state) {
    case PULL_DONE:
        pull_answer(request, 200, pull);
        break;
    case PULL_CANCELLED:
        error_set(&error, ERROR_PULL_CANCELLED, "The pull of %s was cancelled", pull->reference);
        request->about_reference = arena_strdup(&request->arena, pull->reference);
        request_answer_problem(request, &error);
        break;
    case PULL_FAILED:
        request->about_reference = arena_strdup(&request->arena, pull->reference);
        request_answer_problem(request, &error);
        break;
    case PULL_QUEUED:
    case PULL_RESOLVING:
    case PULL_FETCHING:
    case PULL_COMPOSING:
        pull_answer_accepted(request, pull);
        return;
    }
    add_location(request, pull);
}

bool pull_wait_preference(const char *prefer, unsigned *seconds)
{
    for (const char *at = prefer; at && *at; at += *at == ',') {
        at += strspn(at, " \t");
        size_t length = strcspn(at, ",");
        if (length > 5 && strncasecmp(at, "wait=", 5) == 0) {
            const char *number = at + 5 + (at[5] == '"');
            size_t digits = strspn(number, "0123456789");
            unsigned long value = strtoul(number, NULL, 10);
            *seconds = value < MAX_WAIT_SECONDS ? (unsigned)value : MAX_WAIT_SECONDS;
            return digits > 0 && value > 0;
        }
        at += length;
    }
    return false;
}
