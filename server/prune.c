/* POST /images:prune. */
#include "server/clock.h"
#include "server/json_fields.h"
#include "server/log.h"
#include "server/node.h"
#include "server/reaper_thread.h"
#include "server/resources.h"
#include "server/shapes.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { GLOB_MAX_BYTES = 1024 };

static bool read_prune_options(struct request *request, struct prune_options *options,
                               struct error *error)
{
    const struct json_field fields[] = {
        {.name = "dry_run", .type = FIELD_BOOL, .boolean = &options->dry_run},
        {.name = "unused_for_seconds",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &options->unused_for_seconds,
         .max = INT32_MAX},
        {.name = "keep_bytes",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &options->keep_bytes,
         .max = INT64_MAX,
         .given = &options->has_keep_bytes},
        {.name = "reference",
         .type = FIELD_TEXT,
         .nullable = true,
         .text = &options->reference_glob,
         .max_length = GLOB_MAX_BYTES},
    };
    return !request->json || json_fields_read(request->json, "", fields, COUNT(fields), error);
}

/* A glob is taken as it is; a reference without `*` in its canonical form. */
static bool canonical_glob(struct request *request, const char **glob, struct error *error)
{
    struct reference reference;
    if (!*glob || strchr(*glob, '*'))
        return true;
    if (!reference_parse(*glob, &reference, error))
        return false;
    char *canonical = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&reference, canonical);
    *glob = canonical;
    return true;
}

/* What is to go at most, for the audit log: first how sure, then how much. */
static const char *options_text(struct request *request, const struct prune_options *options)
{
    struct arena *arena = &request->arena;
    const char *text =
        arena_printf(arena, "dry_run=%s unused_for_seconds=%lld",
                     options->dry_run ? "true" : "false", (long long)options->unused_for_seconds);
    if (options->has_keep_bytes)
        text = arena_printf(arena, "%s keep_bytes=%lld", text, (long long)options->keep_bytes);
    if (options->reference_glob)
        text = arena_printf(arena, "%s reference=%s", text, options->reference_glob);
    return text;
}

static bool should_hurry(void *context)
{
    return request_should_hurry(context);
}

static void log_prune(const struct request *request, const struct removal *removal,
                      int64_t transaction_us)
{
    LOG(&request->node->log, LOG_INFO, "pruned", FIELD_TEXT("request_id", request->id),
        FIELD_INT("references", removal->references), FIELD_INT("manifests", removal->manifests),
        FIELD_INT("layers", removal->layers), FIELD_INT("transaction_us", transaction_us));
}

/* What was pruned stays pruned: when the figures cannot be had, they are left out. */
static const struct reaped *finish(struct request *request, const struct removal *removal,
                                   struct reaped *reaped)
{
    struct error error;
    if (reaper_thread_finish(request->node->reaper, removal->id, should_hurry, request, reaped,
                             &error))
        return reaped;
    LOG(&request->node->log, LOG_WARNING, "a prune's figures are unknown",
        FIELD_TEXT("request_id", request->id), FIELD_TEXT("detail", error.message));
    return NULL;
}

bool images_prune(struct request *request, struct error *error)
{
    struct prune_options options = {0};
    struct removal removal;
    struct reaped reaped;
    int64_t begun_us = clock_now_us();
    if (!read_prune_options(request, &options, error) ||
        !canonical_glob(request, &options.reference_glob, error))
        return false;
    request->audit_detail = options_text(request, &options);
    if (!catalogue_prune(request->node->catalogue, &options, &removal, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    if (options.dry_run) {
        shape_prune_estimate(&out, &removal);
    } else {
        log_prune(request, &removal, clock_now_us() - begun_us);
        shape_prune_report(&out, &removal, finish(request, &removal, &reaped));
    }
    request_answer_json(request, 200, &out);
    return true;
}
