#include "store/catalogue/pull_rows.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

/* The order of PULL_COLUMNS. */
enum {
    COLUMN_ID,
    COLUMN_REFERENCE,
    COLUMN_PLATFORM,
    COLUMN_POLICY,
    COLUMN_FORCE,
    COLUMN_STATE,
    COLUMN_NODE_ID,
    COLUMN_MANIFEST_DIGEST,
    COLUMN_CREATED_AT,
    COLUMN_STARTED_AT,
    COLUMN_FINISHED_AT,
    COLUMN_ATTEMPTS,
    COLUMN_ERROR,
    COLUMN_CANCEL_REQUESTED,
    COLUMN_LAYER_POSITION,
    COLUMN_LAYER_DIFF_ID,
    COLUMN_LAYER_BLOB_DIGEST,
    COLUMN_LAYER_MEDIA_TYPE,
    COLUMN_LAYER_STATE,
    COLUMN_LAYER_TOTAL_BYTES,
    COLUMN_LAYER_RECEIVED_BYTES,
    COLUMN_LAYER_TAR_BYTES,
    COLUMN_CREATED_AT_TEXT, /* in lists only */
};

static const char *const policy_names[] = {
    [PULL_IF_MISSING] = "if_missing",
    [PULL_ALWAYS] = "always",
    [PULL_NEVER] = "never",
    [PULL_LOAD] = "load",
};

static const char *const state_names[] = {
    [PULL_QUEUED] = "queued",       [PULL_RESOLVING] = "resolving", [PULL_FETCHING] = "fetching",
    [PULL_COMPOSING] = "composing", [PULL_DONE] = "done",           [PULL_FAILED] = "failed",
    [PULL_CANCELLED] = "cancelled",
};

const char *pull_policy_name(enum pull_policy policy)
{
    return policy_names[policy];
}

bool pull_policy_parse(const char *name, enum pull_policy *policy)
{
    for (size_t i = 0; i < sizeof(policy_names) / sizeof(policy_names[0]); i++) {
        if (strcmp(policy_names[i], name) == 0) {
            *policy = (enum pull_policy)i;
            return true;
        }
    }
    return false;
}

const char *pull_state_name(enum pull_state state)
{
    return state_names[state];
}

bool pull_state_is_final(enum pull_state state)
{
    return state == PULL_DONE || state == PULL_FAILED || state == PULL_CANCELLED;
}

static enum pull_state parse_state(const char *name)
{
    for (size_t i = 0; i < sizeof(state_names) / sizeof(state_names[0]); i++)
        if (strcmp(state_names[i], name) == 0)
            return (enum pull_state)i;
    assert(!"the table's check allows only these states");
    return PULL_FAILED;
}

const char *pull_error_format(const struct error *why, struct arena *arena)
{
    json_t *object = json_pack("{s:s, s:s, s:i, s:i}", "code", error_code_name(why->code), "detail",
                               why->message, "registry_status", why->registry_status, "retry_after",
                               why->retry_after_seconds);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text)
        abort(); /* messages are UTF-8 (error.h): only memory can lack */
    const char *kept = arena_strdup(arena, text);
    free(text);
    return kept;
}

static void parse_error(const char *text, struct error *error)
{
    json_t *object = json_loads(text, 0, NULL);
    const char *code = json_string_value(json_object_get(object, "code"));
    const char *detail = json_string_value(json_object_get(object, "detail"));
    (void)error_set(error, code ? error_code_from_name(code) : ERROR_PULL_FAILED, "%s",
                    detail ? detail : "the pull failed");
    error->registry_status = (int)json_integer_value(json_object_get(object, "registry_status"));
    error->retry_after_seconds = (int)json_integer_value(json_object_get(object, "retry_after"));
    json_decref(object);
}

/* How many rows from `row` on are of the same pull. */
static size_t rows_of_pull(const struct rows *rows, size_t row)
{
    const char *id = rows_text(rows, row, COLUMN_ID);
    size_t end = row + 1;
    while (end < rows->count && strcmp(rows_text(rows, end, COLUMN_ID), id) == 0)
        end++;
    return end - row;
}

static struct pull read_pull(const struct rows *rows, size_t row)
{
    struct pull pull = {
        .id = rows_text(rows, row, COLUMN_ID),
        .reference = rows_text(rows, row, COLUMN_REFERENCE),
        .platform = rows_text(rows, row, COLUMN_PLATFORM),
        .force = rows_bool(rows, row, COLUMN_FORCE),
        .state = parse_state(rows_text(rows, row, COLUMN_STATE)),
        .node_id = rows_text(rows, row, COLUMN_NODE_ID),
        .manifest_digest = rows_text(rows, row, COLUMN_MANIFEST_DIGEST),
        .created_at_ms = rows_int(rows, row, COLUMN_CREATED_AT),
        .started_at_ms = rows_int(rows, row, COLUMN_STARTED_AT),
        .finished_at_ms = rows_int(rows, row, COLUMN_FINISHED_AT),
        .attempts = rows_int(rows, row, COLUMN_ATTEMPTS),
        .cancel_requested = rows_bool(rows, row, COLUMN_CANCEL_REQUESTED),
    };
    if (!pull_policy_parse(rows_text(rows, row, COLUMN_POLICY), &pull.policy))
        assert(!"the table's check allows only these policies");

    const char *why = rows_text(rows, row, COLUMN_ERROR);
    pull.has_error = why != NULL;
    if (why)
        parse_error(why, &pull.error);
    return pull;
}

static struct pull_layer read_layer(const struct rows *rows, size_t row)
{
    return (struct pull_layer){
        .position = rows_int(rows, row, COLUMN_LAYER_POSITION),
        .diff_id = rows_text(rows, row, COLUMN_LAYER_DIFF_ID),
        .blob_digest = rows_text(rows, row, COLUMN_LAYER_BLOB_DIGEST),
        .media_type = rows_text(rows, row, COLUMN_LAYER_MEDIA_TYPE),
        .state = rows_text(rows, row, COLUMN_LAYER_STATE),
        .total_bytes = rows_int(rows, row, COLUMN_LAYER_TOTAL_BYTES),
        .received_bytes = rows_int(rows, row, COLUMN_LAYER_RECEIVED_BYTES),
        .tar_bytes = rows_int(rows, row, COLUMN_LAYER_TAR_BYTES),
    };
}

size_t pull_rows_read(const struct rows *rows, struct arena *arena, struct pull **pulls)
{
    *pulls = arena_alloc_array(arena, rows->count, sizeof(**pulls));
    size_t count = 0;
    for (size_t row = 0; row < rows->count;) {
        size_t run = rows_of_pull(rows, row);
        struct pull *pull = &(*pulls)[count++];
        *pull = read_pull(rows, row);
        pull->layers = arena_alloc_array(arena, run, sizeof(*pull->layers));
        for (size_t end = row + run; row < end; row++)
            if (rows_text(rows, row, COLUMN_LAYER_POSITION))
                pull->layers[pull->layer_count++] = read_layer(rows, row);
    }
    return count;
}

const char *pull_rows_created_at(const struct rows *rows, const char *id)
{
    size_t row = 0;
    while (strcmp(rows_text(rows, row, COLUMN_ID), id) != 0)
        row++;
    return rows_text(rows, row, COLUMN_CREATED_AT_TEXT);
}
