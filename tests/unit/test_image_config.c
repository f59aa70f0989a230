#include "store/registry/image_config.h"

#include <criterion/criterion.h>
#include <string.h>

#define HEX    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define DIGEST "sha256:" HEX
#define ON     "\"architecture\":\"amd64\",\"os\":\"linux\""
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIGEST "\"]}"

static bool parse(struct arena *arena, const char *text, struct image_config *config,
                  struct error *error)
{
    return image_config_parse(arena, text, strlen(text), config, error);
}

static const struct {
    const char *config; /* the member "config", with its comma */
    const char *detail; /* after the digest */
} details[] = {
    {"", "\"env\":[],\"cmd\":null,\"entrypoint\":null,\"working_dir\":null,\"user\":null,"
         "\"labels\":null,\"stop_signal\":null}"},
    {",\"config\":null", "\"env\":[],\"cmd\":null,\"entrypoint\":null,\"working_dir\":null,"
                         "\"user\":null,\"labels\":null,\"stop_signal\":null}"},
    {",\"config\":{\"Env\":null,\"Cmd\":null,\"Entrypoint\":null,\"WorkingDir\":\"\",\"User\":\"\","
     "\"Labels\":null,\"StopSignal\":\"\"}",
     "\"env\":[],\"cmd\":null,\"entrypoint\":null,\"working_dir\":null,\"user\":null,"
     "\"labels\":null,\"stop_signal\":null}"},
    {",\"config\":{\"Env\":[],\"Cmd\":[],\"Entrypoint\":[],\"Labels\":{}}",
     "\"env\":[],\"cmd\":[],\"entrypoint\":[],\"working_dir\":null,\"user\":null,\"labels\":{},"
     "\"stop_signal\":null}"},
    {",\"config\":{\"Env\":[\"A=1\",\"B=\\\"\xc3\xa9\\\"\"],\"Cmd\":[\"python3\"],"
     "\"Entrypoint\":[\"/e\",\"\"],\"WorkingDir\":\"/w\",\"User\":\"1000:1000\","
     "\"Labels\":{\"a\":\"b\",\"\":\"\"},\"StopSignal\":\"SIGINT\",\"Unknown\":{\"x\":[1]}}",
     "\"env\":[\"A=1\",\"B=\\\"\xc3\xa9\\\"\"],\"cmd\":[\"python3\"],\"entrypoint\":[\"/e\",\"\"],"
     "\"working_dir\":\"/w\",\"user\":\"1000:1000\",\"labels\":{\"a\":\"b\",\"\":\"\"},"
     "\"stop_signal\":\"SIGINT\"}"},
};

Test(image_config, the_detail_has_every_field_and_null_for_what_is_unknown)
{
    for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct image_config config;
        struct error error = {0};
        struct digest digest;
        const char *text = arena_printf(&arena, "{" ON "," ROOTFS "%s}", details[i].config);
        cr_assert(parse(&arena, text, &config, &error), "row %zu: %s", i, error.message);
        cr_assert(digest_parse(DIGEST, &digest));
        cr_expect_str_eq(image_config_detail_json(&arena, &config, &digest),
                         arena_printf(&arena, "{\"digest\":\"" DIGEST "\",%s", details[i].detail),
                         "row %zu", i);
    }
}

static const struct {
    const char *text;
    const char *reason;
} refused[] = {
    {"", "not valid JSON"},
    {"[]", "object"},
    {"{}", "os"},
    {"{\"os\":\"linux\"," ROOTFS "}", "architecture"},
    {"{\"architecture\":\"amd64\"," ROOTFS "}", "os"},
    {"{\"os\":\"\",\"architecture\":\"amd64\"," ROOTFS "}", "os"},
    {"{\"os\":\"linux\",\"architecture\":\"a/b\"," ROOTFS "}", "architecture"},
    {"{" ON ",\"variant\":8," ROOTFS "}", "variant"},
    {"{" ON "}", "rootfs"},
    {"{" ON ",\"rootfs\":null}", "rootfs"},
    {"{" ON ",\"rootfs\":{\"type\":\"tar\",\"diff_ids\":[]}}", "rootfs.type"},
    {"{" ON ",\"rootfs\":{\"type\":\"layers\"}}", "diff_ids"},
    {"{" ON ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":\"x\"}}", "diff_ids"},
    {"{" ON ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[1]}}", "diff_ids"},
    {"{" ON ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:../../x\"]}}", "diff_ids"},
    {"{" ON "," ROOTFS ",\"config\":[]}", "config"},
    {"{" ON "," ROOTFS ",\"config\":{\"Env\":\"A=1\"}}", "Env"},
    {"{" ON "," ROOTFS ",\"config\":{\"Env\":[null]}}", "Env"},
    {"{" ON "," ROOTFS ",\"config\":{\"Cmd\":{}}}", "Cmd"},
    {"{" ON "," ROOTFS ",\"config\":{\"Entrypoint\":[[]]}}", "Entrypoint"},
    {"{" ON "," ROOTFS ",\"config\":{\"User\":0}}", "User"},
    {"{" ON "," ROOTFS ",\"OS\":\"windows\"}", "\"OS\" can be read"},
    {"{" ON "," ROOTFS ",\"Rootfs\":{}}", "\"Rootfs\" can be read"},
    {"{" ON ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[],\"Diff_IDs\":[]}}", "can be read"},
    {"{" ON "," ROOTFS ",\"config\":{\"User\":\"1\",\"user\":\"0\"}}", "\"user\" can be read"},
    {"{" ON "," ROOTFS ",\"config\":{\"entrypoint\":[\"a\"]}}", "can be read"},
    {"{" ON "," ROOTFS ",\"config\":{\"Labels\":[\"a\"]}}", "Labels"},
    {"{" ON "," ROOTFS ",\"config\":{\"Labels\":{\"a\":1}}}", "Labels"},
    {"{" ON "," ROOTFS ",\"config\":{\"StopSignal\":9}}", "StopSignal"},
    {"{" ON "," ROOTFS ",\"config\":{\"User\":\"a\\u0000b\"}}", "not valid JSON"},
};

Test(image_config, a_config_of_the_wrong_shape_is_refused_with_its_reason)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct image_config config;
        struct error error = {0};
        cr_expect_not(parse(&arena, refused[i].text, &config, &error), "row %zu is refused: %s", i,
                      refused[i].text);
        cr_expect_eq(error.code, ERROR_UNSUPPORTED_MANIFEST, "row %zu", i);
        cr_expect(strstr(error.message, refused[i].reason), "row %zu: \"%s\" names %s", i,
                  error.message, refused[i].reason);
    }
}

Test(image_config, a_config_has_at_most_1024_layers)
{
    for (size_t count = 1023; count <= 1025; count++) {
        cleanup_arena struct arena arena = {0};
        struct image_config config;
        struct error error = {0};
        const char *digests = "\"" DIGEST "\"";
        for (size_t i = 1; i < count; i++)
            digests = arena_printf(&arena, "%s,\"" DIGEST "\"", digests);
        const char *text = arena_printf(
            &arena, "{" ON ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}", digests);
        cr_expect_eq(parse(&arena, text, &config, &error), count <= 1024, "%zu: %s", count,
                     error.message);
        cr_expect(count <= 1024 || strstr(error.message, "at most 1024"), "%s", error.message);
    }
}

Test(image_config, the_platform_and_the_number_of_layers_must_fit)
{
    static const struct {
        const char *on;
        const char *platform; /* NULL: no index */
        size_t layer_count;
        bool fits;
    } rows[] = {
        {ON, NULL, 1, true},
        {ON, NULL, 0, false},
        {ON, NULL, 2, false},
        {ON, "linux/amd64", 1, true},
        {ON, "linux/arm64", 1, false},
        {ON, "windows/amd64", 1, false},
        {"\"os\":\"linux\",\"architecture\":\"arm64\"", "linux/arm64/v8", 1, true},
        {"\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"", "linux/arm64", 1, true},
        {"\"os\":\"linux\",\"architecture\":\"arm\"", "linux/arm/v6", 1, true},
        {"\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"", "linux/arm/v6", 1, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct image_config config;
        struct platform platform;
        struct error error = {0};
        const char *text = arena_printf(&arena, "{%s," ROOTFS "}", rows[i].on);
        cr_assert(parse(&arena, text, &config, &error), "row %zu: %s", i, error.message);
        if (rows[i].platform)
            cr_assert(platform_parse(rows[i].platform, &platform, &error), "%s", error.message);
        bool fits = image_config_check(&config, rows[i].layer_count,
                                       rows[i].platform ? &platform : NULL, &error);
        cr_expect_eq(fits, rows[i].fits, "row %zu: %s", i, error.message);
        if (!fits)
            cr_expect_eq(error.code, ERROR_UNSUPPORTED_MANIFEST, "row %zu", i);
    }
}
