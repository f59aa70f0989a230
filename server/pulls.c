/* /images:pull and /pulls: bringing images here. */
#include "server/clock.h"
#include "server/json_fields.h"
#include "server/node.h"
#include "server/pull_answer.h"
#include "server/resources.h"
#include "server/shapes.h"
#include "store/puller.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct pull_body {
    const char *reference;
    const char *platform;
    const char *policy;
    bool force;
};

static bool read_body(json_t *json, struct pull_body *body, struct error *error)
{
    static const char *const policies[] = {"if_missing", "always", "never", NULL};
    const struct json_field fields[] = {
        {.name = "reference",
         .type = FIELD_TEXT,
         .required = true,
         .text = &body->reference,
         .max_length = 1024},
        {.name = "platform",
         .type = FIELD_TEXT,
         .nullable = true,
         .text = &body->platform,
         .max_length = 128},
        {.name = "policy",
         .type = FIELD_TEXT,
         .nullable = true,
         .text = &body->policy,
         .choices = policies},
        {.name = "force", .type = FIELD_BOOL, .boolean = &body->force},
    };
    return json_fields_read(json, "", fields, COUNT(fields), error);
}

static bool read_pull(struct request *request, struct reference *reference,
                      struct platform *platform, struct pull_request *wanted, struct error *error)
{
    struct pull_body body = {0};
    *platform = request->node->platform;
    if (!read_body(request->json, &body, error) ||
        !reference_parse(body.reference, reference, error))
        return false;
    char *canonical = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(reference, canonical);
    request->about_reference = canonical;
    if (body.platform && !platform_parse(body.platform, platform, error))
        return error_context(error, "The field \"platform\"");
    *wanted =
        (struct pull_request){.reference = reference, .platform = platform, .force = body.force};
    return !body.policy || pull_policy_parse(body.policy, &wanted->policy) ||
           error_set(error, ERROR_INTERNAL, "The policy %s has no meaning", body.policy);
}

bool pulls_start(struct request *request, struct error *error)
{
    struct reference reference;
    struct platform platform;
    struct pull_request wanted;
    struct pull pull;
    if (!read_pull(request, &reference, &platform, &wanted, error) ||
        !puller_submit(request->node->puller, &wanted, &request->arena, &pull, error))
        return false;
    unsigned seconds = 0;
    if (!pull_wait_preference(request->headers.prefer, &seconds)) {
        pull_answer_accepted(request, &pull);
        return true;
    }
    request->wait.seconds = seconds;
    request->wait.pull_id = pull.id;
    request->wait.deadline_us = clock_now_us() + (int64_t)seconds * 1000000;
    if (pull_state_is_final(pull.state))
        pull_answer_waited(request, &pull);
    return true;
}

bool pulls_list(struct request *request, struct error *error)
{
    struct pull_page page;
    size_t limit = 0;
    if (!request_query_limit(request, &limit, error) ||
        !catalogue_list_pulls(request->node->catalogue, limit, request_query(request, "page_token"),
                              &request->arena, &page, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "pulls");
    for (size_t i = 0; i < page.count; i++)
        shape_pull(&out, NULL, &page.pulls[i], NULL);
    json_end_array(&out);
    json_write_text(&out, "next_page_token", page.next_page_token);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}

bool pulls_show(struct request *request, struct error *error)
{
    struct pull pull;
    if (!catalogue_find_pull(request->node->catalogue, request->variable, &request->arena, &pull,
                             error))
        return false;
    pull_answer(request, 200, &pull);
    return true;
}

bool pulls_cancel(struct request *request, struct error *error)
{
    if (!puller_cancel(request->node->puller, request->variable, error))
        return false;
    request_answer_empty(request, 204);
    return true;
}
