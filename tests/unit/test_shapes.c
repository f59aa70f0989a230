#include "server/shapes.h"

#include "server/problem.h"
#include "store/registry/json_document.h"

#include <criterion/criterion.h>
#include <string.h>

#define A_DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define A_HEX    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

/* What the writer holds, without the NUL that it does not need. */
static const char *text_of(struct json_writer *out)
{
    json_append(out, "", 1);
    return out->bytes;
}

static void expect_json(struct json_writer *out, const char *expected)
{
    const char *text = text_of(out);
    cr_expect_str_eq(text, expected);
    json_error_t where;
    cleanup_json json_t *document = json_loads(text, JSON_DECODE_ANY, &where);
    cr_expect(document, "not JSON at byte %d: %s", where.position, text);
}

Test(json_writer, commas_stand_between_values_only)
{
    cleanup_json_writer struct json_writer out = {0};
    json_begin_object(&out, NULL);
    json_begin_array(&out, "empty");
    json_end_array(&out);
    json_begin_array(&out, "two");
    json_write_int(&out, NULL, INT64_MIN);
    json_begin_object(&out, NULL);
    json_end_object(&out);
    json_end_array(&out);
    json_write_bool(&out, "yes", true);
    json_write_text(&out, "nothing", NULL);
    json_write_raw(&out, "raw", "[1]");
    json_end_object(&out);
    expect_json(&out, "{\"empty\":[],\"two\":[-9223372036854775808,{}],\"yes\":true,"
                      "\"nothing\":null,\"raw\":[1]}");
}

Test(json_writer, text_is_escaped_and_always_utf8)
{
    static const struct {
        const char *text;
        const char *json;
    } rows[] = {
        {"plain", "\"plain\""},
        {"", "\"\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\t\x01\x7f", "\"\\n\\t\\u0001\\u007f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8d\x8e", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x8d\x8e\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"a\xc3", "\"a\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_json_writer struct json_writer out = {0};
        json_write_text(&out, NULL, rows[i].text);
        expect_json(&out, rows[i].json);
    }
}

static const struct image_handle handle = {
    .reference = "docker.io/library/python:3.12",
    .manifest_digest = A_DIGEST,
    .architecture = "amd64",
    .os = "linux",
    .variant = "",
    .layer_count = 1,
    .size_bytes = 2,
    .created_at_ms = 3,
    .last_used_at_ms = 4,
};
#define HANDLE_JSON                                                                                \
    "{\"reference\":\"docker.io/library/python:3.12\",\"manifest_digest\":\"" A_DIGEST             \
    "\",\"architecture\":\"amd64\",\"os\":\"linux\",\"layer_count\":1,\"size_bytes\":2,"           \
    "\"created_at\":3,\"last_used_at\":4}"

Test(shapes, an_image_handle_has_the_fields_of_the_contract_and_no_others)
{
    cleanup_json_writer struct json_writer out = {0};
    shape_image_handle(&out, NULL, &handle);
    expect_json(&out, HANDLE_JSON);
}

Test(shapes, an_image_detail_names_its_files_by_digest)
{
    struct image_layer layer = {.diff_id = A_DIGEST,
                                .blob_digest = A_DIGEST,
                                .media_type = "m",
                                .compressed_size_bytes = 5,
                                .erofs_size_bytes = 6};
    struct image_detail detail = {.handle = handle,
                                  .config_json = "{\"env\":[]}",
                                  .layers = &layer,
                                  .layer_count = 1,
                                  .fsmeta_size_bytes = 7,
                                  .vmdk_size_bytes = 8};
    cleanup_json_writer struct json_writer out = {0};
    shape_image_detail(&out, NULL, &detail);
    expect_json(&out,
                "{\"handle\":" HANDLE_JSON ",\"config\":{\"env\":[]},\"layers\":[{\"diff_id\":"
                "\"" A_DIGEST "\",\"blob_digest\":\"" A_DIGEST "\",\"media_type\":\"m\","
                "\"compressed_size_bytes\":5,\"erofs_size_bytes\":6,\"position\":0}],\"files\":{"
                "\"fsmeta\":{\"path\":\"fsmeta/sha256_" A_HEX
                ".erofs\",\"url\":\"/manifests/" A_DIGEST
                "/fsmeta\",\"size_bytes\":7},\"vmdk\":{\"path\":\"vmdk/sha256_" A_HEX
                ".vmdk\",\"url\":\"/manifests/" A_DIGEST "/vmdk\",\"size_bytes\":8},\"layers\":[{"
                "\"path\":\"layers/sha256_" A_HEX ".erofs\",\"url\":\"/layers/" A_DIGEST "\","
                "\"size_bytes\":6}]}}");
}

Test(shapes, a_sandbox_without_lease_or_image_says_null)
{
    struct sandbox sandbox = {
        .id = "s", .host = "h", .rootfs_json = "{\"type\":\"bind\"}", .created_at_ms = 1};
    cleanup_json_writer struct json_writer out = {0};
    shape_sandbox(&out, NULL, &sandbox);
    expect_json(&out, "{\"id\":\"s\",\"host\":\"h\",\"rootfs\":{\"type\":\"bind\"},"
                      "\"created_at\":1,\"expires_at\":null,\"image\":null}");
}

Test(shapes, a_pull_that_waits_has_every_field)
{
    struct pull pull = {.id = "i", .reference = "r", .platform = "linux/amd64", .created_at_ms = 9};
    cleanup_json_writer struct json_writer out = {0};
    shape_pull(&out, NULL, &pull, NULL);
    expect_json(&out, "{\"id\":\"i\",\"reference\":\"r\",\"platform\":\"linux/amd64\","
                      "\"policy\":\"if_missing\",\"force\":false,\"state\":\"queued\","
                      "\"manifest_digest\":null,\"node\":null,\"created_at\":9,"
                      "\"started_at\":null,\"finished_at\":null,\"layers\":[],\"error\":null,"
                      "\"image\":null}");
}

Test(shapes, a_failed_pull_carries_its_problem)
{
    struct pull pull = {.id = "i",
                        .reference = "r",
                        .platform = "linux/amd64",
                        .state = PULL_FAILED,
                        .has_error = true};
    error_set(&pull.error, ERROR_REGISTRY_UNAUTHORIZED, "no");
    pull.error.registry_status = 401;
    cleanup_json_writer struct json_writer out = {0};
    shape_pull(&out, NULL, &pull, NULL);
    cr_expect(strstr(text_of(&out),
                     "\"error\":{\"type\":\"urn:larder:problem:registry-unauthorized\",\"title\":"
                     "\"Registry refused access\",\"status\":502,\"detail\":\"no\",\"code\":"
                     "\"RegistryUnauthorized\",\"reference\":\"r\",\"registry_status\":401}"),
              "%s", out.bytes);
}

Test(shapes, a_prune_reports_what_went_and_a_dry_run_what_would)
{
    struct removal removal = {.references = 1, .manifests = 2, .layers = 3, .allocated_bytes = 4};
    struct reaped reaped = {.fsmeta_files = 5, .vmdk_files = 6, .layer_files = 7, .bytes = 8};
    cleanup_json_writer struct json_writer dry = {0};
    cleanup_json_writer struct json_writer wet = {0};
    cleanup_json_writer struct json_writer unmeasured = {0};
    shape_prune_estimate(&dry, &removal);
    expect_json(&dry, "{\"image_refs_removed\":1,\"manifests_removed\":2,\"layers_removed\":3,"
                      "\"fsmeta_removed\":2,\"vmdk_removed\":2,\"bytes_reclaimed\":4,"
                      "\"dry_run\":true}");
    shape_prune_report(&wet, &removal, &reaped);
    expect_json(&wet, "{\"image_refs_removed\":1,\"manifests_removed\":2,\"layers_removed\":3,"
                      "\"fsmeta_removed\":5,\"vmdk_removed\":6,\"bytes_reclaimed\":8,"
                      "\"dry_run\":false}");
    shape_prune_report(&unmeasured, &removal, NULL);
    expect_json(&unmeasured,
                "{\"image_refs_removed\":1,\"manifests_removed\":2,\"layers_removed\":3,"
                "\"fsmeta_removed\":0,\"vmdk_removed\":0,\"bytes_reclaimed\":null,"
                "\"dry_run\":false}");
}

Test(problem, the_type_is_the_code_in_kebab_case)
{
    char type[PROBLEM_TYPE_SIZE];
    problem_type(ERROR_IMAGE_NOT_FOUND, type);
    cr_expect_str_eq(type, "urn:larder:problem:image-not-found");
    problem_type(ERROR_CATALOGUE_UNAVAILABLE, type);
    cr_expect_str_eq(type, "urn:larder:problem:catalogue-unavailable");
}

Test(problem, names_what_helps)
{
    const char *ids[] = {"s1", "s2"};
    struct id_list sandboxes = {ids, 2};
    struct error error;
    error_set(&error, ERROR_IMAGE_IN_USE, "in use");
    error.retry_after_seconds = 5;
    cleanup_json_writer struct json_writer out = {0};
    problem_write(&out, NULL,
                  &(struct problem){.error = &error, .reference = "r", .sandboxes = &sandboxes});
    expect_json(&out, "{\"type\":\"urn:larder:problem:image-in-use\",\"title\":\"Image in use\","
                      "\"status\":409,\"detail\":\"in use\",\"code\":\"ImageInUse\","
                      "\"sandboxes\":[\"s1\",\"s2\"],\"reference\":\"r\",\"retry_after\":5}");
}
