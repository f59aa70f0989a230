#include "server/audit.h"

#include "server/node.h"
#include "server/routes.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { OBJECT_MAX_BYTES = 512 };

static bool is_change(const char *method)
{
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

static const char *result_of(unsigned status)
{
    if (status == 0)
        return "aborted";
    if (status < 400)
        return "done";
    return status == 401 || status == 403 || status == 429 ? "refused" : "failed";
}

/* `host=h7&force=true`, as decoded; only what the route knows, which is no secret. */
static const char *query_text(struct arena *arena, const struct request *request)
{
    const char *text = NULL;
    if (request->early.code != ERROR_NONE)
        return NULL;
    for (size_t i = 0; i < request->query.count; i++) {
        const struct query_parameter *parameter = &request->query.parameters[i];
        text = arena_printf(arena, "%s%s%s=%s", text ? text : "", text ? "&" : "", parameter->name,
                            parameter->value);
    }
    return text;
}

void audit_add_part(struct request *request, const struct audit_part *part)
{
    struct audit_part *added = arena_alloc(&request->arena, sizeof(*added));
    *added = *part;
    added->next = request->audit_parts;
    request->audit_parts = added;
}

static void append_line(const struct request *request, const struct audit_part *part,
                        const char *query, const char *remote, struct json_writer *lines)
{
    const struct log_field fields[] = {
        FIELD_TEXT("who", request->who.name[0] ? request->who.name : NULL),
        FIELD_TEXT("by", identity_source_name(request->who.source)),
        FIELD_TEXT("role", role_name(request->who.role)),
        FIELD_TEXT("method", request->method),
        FIELD_TEXT("object", part->object),
        FIELD_TEXT("query", query),
        FIELD_TEXT("reference", part->reference),
        FIELD_TEXT("detail", part->detail),
        FIELD_TEXT("result", result_of(part->status)),
        FIELD_INT("status", (int64_t)part->status),
        FIELD_TEXT("request_id", request->id),
        FIELD_TEXT("remote", remote),
    };
    log_append(&request->node->log, lines, LOG_INFO, "audit", fields, COUNT(fields));
}

void audit_request(const struct request *request, const char *remote)
{
    cleanup_arena struct arena arena = {0};
    cleanup_json_writer struct json_writer lines = {0};
    if (!request->method || !is_change(request->method))
        return;
    size_t length = strcspn(request->target, "?");
    const struct audit_part whole = {
        .object = arena_strndup(&arena, request->target,
                                length < OBJECT_MAX_BYTES ? length : OBJECT_MAX_BYTES),
        .reference = request->about_reference,
        .detail = request->audit_detail,
        .status = request->status,
    };
    append_line(request, &whole, query_text(&arena, request), remote, &lines);
    for (const struct audit_part *part = request->audit_parts; part; part = part->next)
        append_line(request, part, NULL, remote, &lines);
    log_write_lines(&request->node->log, LOG_OF_AUDIT, &lines);
}
