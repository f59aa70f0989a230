/* PUT /sandboxes/{id} and POST /sandboxes:batch: a host starts sandboxes. Usually one round
 * trip for all of them; what they run on is in memory. */
#include "server/audit.h"
#include "server/auth.h"
#include "server/cache_lease.h"
#include "server/detail_cache.h"
#include "server/json_fields.h"
#include "server/node.h"
#include "server/resources.h"
#include "server/rootfs.h"
#include "server/shapes.h"
#include "store/registry/json_document.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
    NAME_MAX_BYTES = 255,
    MAX_TTL_SECONDS = 10 * 365 * 24 * 3600, /* ten years: longer is null, for ever */
    BATCH_MAX = 256,
};

/* One sandbox on its way. */
struct start {
    struct rootfs rootfs;
    struct sandbox_registration registration; /* points into rootfs and the choice */
    struct error error;                       /* why it is not registered */
    bool is_registered;
    bool is_new;
};

/* What all of a request share. */
struct starts {
    struct platform wanted;
    struct platform_choice choice;
    struct start *each;
    size_t count;
};

bool holders_check_id(const char *id, struct error *error)
{
    return strlen(id) <= NAME_MAX_BYTES ||
           error_set(error, ERROR_INVALID_ARGUMENT,
                     "The id in the path has %zu bytes; allowed are 1 to %d", strlen(id),
                     NAME_MAX_BYTES);
}

/* `has_id`: it is a field of the object, else it is there already. */
static bool read_start(struct request *request, json_t *object, bool has_id,
                       const struct platform_choice *choice, struct start *start,
                       struct error *error)
{
    json_t *source = NULL;
    struct sandbox_registration *registration = &start->registration;
    const struct json_field fields[] = {
        {.name = "host",
         .type = FIELD_TEXT,
         .required = true,
         .text = &registration->host,
         .max_length = NAME_MAX_BYTES},
        {.name = "rootfs", .type = FIELD_OBJECT, .required = true, .object = &source},
        {.name = "ttl_seconds",
         .type = FIELD_INT,
         .nullable = true,
         .integer = &registration->ttl_seconds,
         .min = 1,
         .max = MAX_TTL_SECONDS,
         .given = &registration->expires},
        {.name = "id",
         .type = FIELD_TEXT,
         .required = true,
         .text = &registration->id,
         .max_length = NAME_MAX_BYTES},
    };
    registration->choice = choice;
    if (!json_fields_read(object, "", fields, COUNT(fields) - (has_id ? 0 : 1), error) ||
        !auth_check_host(request, registration->host, error) ||
        !rootfs_read(source, &request->arena, &start->rootfs, error))
        return false;
    registration->only_host = auth_only_host(request);
    registration->rootfs_json = start->rootfs.json;
    registration->reference = start->rootfs.is_oci ? &start->rootfs.reference : NULL;
    return true;
}

static bool read_platform(struct request *request, struct starts *starts, struct error *error)
{
    const char *platform = request_query(request, "platform");
    starts->choice = (struct platform_choice){.preferred = &request->node->platform};
    if (!platform)
        return true;
    starts->choice.wanted = &starts->wanted;
    return platform_parse(platform, &starts->wanted, error);
}

static const char *reference_text(struct request *request, const struct start *start)
{
    if (!start->rootfs.is_oci)
        return NULL;
    char *text = arena_alloc(&request->arena, REFERENCE_TEXT_SIZE);
    reference_format(&start->rootfs.reference, text);
    return text;
}

static const char *audit_host(struct request *request,
                              const struct sandbox_registration *registration)
{
    return arena_printf(&request->arena, "host=%s", registration->host);
}

/* --- registering --- */

/* A use was written: who reads the image here sees it from now on. */
static void forget_use(struct node *node, const struct registered_sandbox *registered)
{
    struct reference reference;
    struct error impossible;
    if (!reference_parse(registered->image->reference, &reference, &impossible))
        return;
    read_cache_evict(node->cache, registered->image->reference);
    struct reference by_digest = reference;
    const char *const digests[] = {registered->image->manifest_digest, registered->index_digest,
                                   reference.digest[0] ? reference.digest : NULL};
    for (size_t i = 0; i < COUNT(digests); i++) {
        char key[REFERENCE_TEXT_SIZE];
        if (!digests[i])
            continue;
        snprintf(by_digest.digest, sizeof(by_digest.digest), "%s", digests[i]);
        change_key_of(&by_digest, key);
        read_cache_evict(node->cache, key);
    }
}

/* How much an image may add to what is answered; what does not fit, the host asks for later. */
static size_t image_room(const struct request *request, const struct json_writer *out)
{
    enum { SMALL_BYTES = 32 << 10 };
    if (out->size_bytes > SANDBOX_PAGE_MAX_BYTES)
        return 0;
    bool has_room = request_has_room(request, out->size_bytes + JSON_DOCUMENT_MAX_BYTES);
    return has_room ? SIZE_MAX : SMALL_BYTES;
}

static bool write_registered(struct request *request, const struct registered_sandbox *registered,
                             size_t room_bytes, struct json_writer *out, struct error *error)
{
    shape_sandbox_begin(out, NULL, &registered->sandbox);
    if (!registered->image)
        json_write_null(out, "image");
    else if (!detail_cache_write(request->node, out, room_bytes, registered->image, error))
        return false;
    json_end_object(out);
    return true;
}

/* The long way of one: for another platform, for a renewal that keeps what it runs on, or
 * to say why not. */
static bool register_alone(struct request *request, struct start *start, size_t room_bytes,
                           struct json_writer *out)
{
    cleanup_arena struct arena arena = {0}; /* not the request's: there may be many of them */
    struct sandbox sandbox;
    if (!catalogue_put_sandbox(request->node->catalogue, &start->registration, &arena, &sandbox,
                               &start->is_new, &start->error))
        return false;
    start->is_registered = true;
    request->memory_is_right = false;
    if (sandbox.image && strlen(sandbox.image->config_json) > room_bytes)
        sandbox.image = NULL;
    shape_sandbox(out, NULL, &sandbox);
    return true;
}

static bool register_all(struct request *request, const struct starts *starts,
                         struct registered_sandbox *registered, struct error *error)
{
    const struct platform *platform =
        starts->choice.wanted ? starts->choice.wanted : starts->choice.preferred;
    struct sandbox_registration *given =
        arena_alloc_array(&request->arena, starts->count, sizeof(*given));
    for (size_t i = 0; i < starts->count; i++)
        given[i] = starts->each[i].registration;
    request->memory_is_right = true;
    if (!catalogue_register_sandboxes(request->node->starts, given, starts->count, platform,
                                      &request->arena, registered, error))
        return false;
    for (size_t i = 0; i < starts->count; i++)
        if (registered[i].was_touched)
            forget_use(request->node, &registered[i]);
    return true;
}

bool sandboxes_put(struct request *request, struct error *error)
{
    struct start start = {.registration = {.id = request->variable}};
    struct starts starts = {.each = &start, .count = 1};
    struct registered_sandbox registered;
    if (!holders_check_id(request->variable, error) || !read_platform(request, &starts, error) ||
        !read_start(request, request->json, false, &starts.choice, &start, error))
        return false;
    request->about_reference = reference_text(request, &start);
    request->audit_detail = audit_host(request, &start.registration);
    if (!register_all(request, &starts, &registered, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    size_t room_bytes = image_room(request, &out);
    if (registered.is_registered) {
        start.is_new = registered.is_new;
        if (!write_registered(request, &registered, room_bytes, &out, error))
            return false;
    } else if (!register_alone(request, &start, room_bytes, &out)) {
        *error = start.error;
        return false;
    }
    request_answer_json(request, start.is_new ? 201 : 200, &out);
    return true;
}

/* --- many --- */

static bool is_given_twice(const struct starts *starts, const char *id)
{
    for (size_t i = 0; i < starts->count; i++)
        if (strcmp(starts->each[i].registration.id, id) == 0)
            return true;
    return false;
}

static bool read_batch(struct request *request, struct starts *starts, struct error *error)
{
    json_t *list = json_object_get(request->json, "sandboxes");
    if (json_object_size(request->json) != 1 || !json_is_array(list) || json_array_size(list) < 1 ||
        json_array_size(list) > BATCH_MAX)
        return error_set(error, ERROR_INVALID_ARGUMENT,
                         "The body has one field, \"sandboxes\", a list of 1 to %d objects",
                         BATCH_MAX);
    starts->each = arena_alloc_array(&request->arena, json_array_size(list), sizeof(*starts->each));
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct start *start = &starts->each[i];
        json_t *object = json_array_get(list, i);
        if (!json_is_object(object))
            return error_set(error, ERROR_INVALID_ARGUMENT, "sandboxes[%zu] is no object", i);
        if (!read_start(request, object, true, &starts->choice, start, error))
            return error_context(error, "sandboxes[%zu]", i);
        if (is_given_twice(starts, start->registration.id))
            return error_set(error, ERROR_INVALID_ARGUMENT,
                             "sandboxes[%zu]: the id \"%s\" is given twice", i,
                             start->registration.id);
        starts->count++;
    }
    return true;
}

static void audit_start(struct request *request, const struct start *start, unsigned status)
{
    const struct sandbox_registration *registration = &start->registration;
    audit_add_part(request,
                   &(struct audit_part){
                       .object = arena_printf(&request->arena, "/sandboxes/%s", registration->id),
                       .reference = reference_text(request, start),
                       .detail = audit_host(request, registration),
                       .status = status,
                   });
}

static void write_outcome(struct json_writer *out, struct request *request,
                          const struct start *start, const struct json_writer *sandbox)
{
    const unsigned good = start->is_new ? 201 : 200;
    const unsigned status =
        start->is_registered ? good : (unsigned)error_code_status(start->error.code);
    audit_start(request, start, status);
    json_begin_object(out, NULL);
    json_write_text(out, "id", start->registration.id);
    json_write_int(out, "status", status);
    if (start->is_registered) {
        json_write_raw(out, "sandbox", sandbox->bytes);
        json_write_null(out, "error");
    } else {
        struct problem problem = {.error = &start->error,
                                  .reference = reference_text(request, start),
                                  .detail = request_public_detail(request, &start->error)};
        request_count_problem(&start->error);
        json_write_null(out, "sandbox");
        problem_write(out, "error", &problem);
    }
    json_end_object(out);
}

/* True when it is answered for; false when the catalogue is away and nothing can be said. `away`:
 * what one before it found, else NULL. */
static bool write_start(struct request *request, struct start *start,
                        const struct registered_sandbox *registered, const struct error *away,
                        struct json_writer *out, struct error *error)
{
    cleanup_json_writer struct json_writer sandbox = {0};
    size_t room_bytes = image_room(request, out);
    if (registered->is_registered) {
        start->is_registered = true;
        start->is_new = registered->is_new;
        if (!write_registered(request, registered, room_bytes, &sandbox, error))
            return false;
    } else if (away) {
        start->error = *away;
    } else {
        (void)register_alone(request, start, room_bytes, &sandbox);
    }
    json_append(&sandbox, "", 1); /* as a string */
    write_outcome(out, request, start, &sandbox);
    return true;
}

/* Of those from `first` on nothing can be answered, but they are registered. */
static void audit_registered(struct request *request, const struct starts *starts,
                             const struct registered_sandbox *registered, size_t first)
{
    for (size_t i = first; i < starts->count; i++)
        if (registered[i].is_registered)
            audit_start(request, &starts->each[i], registered[i].is_new ? 201 : 200);
}

bool sandboxes_put_batch(struct request *request, struct error *error)
{
    struct starts starts = {0};
    if (!read_platform(request, &starts, error) || !read_batch(request, &starts, error))
        return false;
    struct registered_sandbox *registered =
        arena_alloc_array(&request->arena, starts.count, sizeof(*registered));
    if (!register_all(request, &starts, registered, error))
        return false;
    cleanup_json_writer struct json_writer out = {0};
    const struct error *away = NULL; /* to wait for it once is enough */
    json_begin_object(&out, NULL);
    json_begin_array(&out, "sandboxes");
    for (size_t i = 0; i < starts.count; i++) {
        if (!write_start(request, &starts.each[i], &registered[i], away, &out, error)) {
            audit_registered(request, &starts, registered, i);
            return false;
        }
        if (starts.each[i].error.code == ERROR_CATALOGUE_UNAVAILABLE)
            away = &starts.each[i].error;
    }
    json_end_array(&out);
    json_end_object(&out);
    request_answer_json(request, 200, &out);
    return true;
}
