#include "store/registry/json_document.h"
#include "store/registry/manifest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define HEX          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a"
#define DIGEST(c)    "sha256:" HEX #c
#define OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_CONFIG   "application/vnd.oci.image.config.v1+json"
#define OCI_LAYER    "application/vnd.oci.image.layer.v1.tar"
#define DOCKER_LIST  "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_V2    "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_CFG   "application/vnd.docker.container.image.v1+json"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"

#define DESCRIPTOR(type, c, size)                                                                  \
    "{\"mediaType\":\"" type "\",\"digest\":\"" DIGEST(c) "\",\"size\":" #size "}"
#define LAYERS(...) "\"layers\":[" __VA_ARGS__ "]"
#define CONFIG      "\"config\":" DESCRIPTOR(OCI_CONFIG, 0, 10)
#define LAYER       DESCRIPTOR(OCI_LAYER "+gzip", 1, 20)
#define SCHEMA      "\"schemaVersion\":2"
#define MANIFEST    "{" SCHEMA "," CONFIG "," LAYERS(LAYER) "}"
#define ENTRY(c, platform)                                                                         \
    "{\"mediaType\":\"" OCI_MANIFEST "\",\"digest\":\"" DIGEST(c) "\",\"size\":7" platform "}"
#define ON(os, arch) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}"
#define ON3(os, arch, variant)                                                                     \
    ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\",\"variant\":\"" variant "\"}"
#define INDEX(...) "{" SCHEMA ",\"manifests\":[" __VA_ARGS__ "]}"

static bool parse(struct arena *arena, const char *text, const char *content_type,
                  struct manifest_document *document, struct error *error)
{
    return manifest_parse(arena, text, strlen(text), content_type, document, error);
}

Test(manifest, an_oci_manifest_gives_its_config_and_layers_bottom_to_top)
{
    cleanup_arena struct arena arena = {0};
    struct manifest_document document;
    struct error error = {0};
    const char *text = "{" SCHEMA ",\"mediaType\":\"" OCI_MANIFEST "\"," CONFIG "," LAYERS(
        DESCRIPTOR(OCI_LAYER, 1, 20) "," DESCRIPTOR(OCI_LAYER "+gzip", 2, 30) "," DESCRIPTOR(
            OCI_LAYER "+zstd", 3, 9223372036854775807)) "}";
    cr_assert(parse(&arena, text, OCI_MANIFEST, &document, &error), "%s", error.message);
    cr_expect_eq(document.kind, MEDIA_MANIFEST);
    cr_expect_str_eq(document.media_type, OCI_MANIFEST);
    cr_expect_str_eq(document.config.media_type, OCI_CONFIG);
    cr_expect_eq(document.config.size_bytes, 10);
    cr_assert_eq(document.layer_count, 3);
    cr_expect_eq(document.layers[0].compression, LAYER_PLAIN);
    cr_expect_eq(document.layers[1].compression, LAYER_GZIP);
    cr_expect_eq(document.layers[2].compression, LAYER_ZSTD);
    cr_expect_eq(document.layers[2].blob.size_bytes, INT64_MAX, "the largest size there is");
    char digest[DIGEST_TEXT_SIZE];
    digest_format(&document.layers[1].blob.digest, digest);
    cr_expect_str_eq(digest, DIGEST(2));
}

Test(manifest, a_docker_manifest_is_read_like_an_oci_one)
{
    cleanup_arena struct arena arena = {0};
    struct manifest_document document;
    struct error error = {0};
    const char *text = "{" SCHEMA ",\"mediaType\":\"" DOCKER_V2
                       "\",\"config\":" DESCRIPTOR(DOCKER_CFG, 0, 10) "," LAYERS(
                           DESCRIPTOR(DOCKER_LAYER ".gzip", 1, 20) "," DESCRIPTOR(
                               DOCKER_LAYER, 1, 20) "," DESCRIPTOR(DOCKER_LAYER ".zstd", 1, 2)) "}";
    cr_assert(parse(&arena, text, DOCKER_V2, &document, &error), "%s", error.message);
    cr_expect_eq(document.layers[0].compression, LAYER_GZIP);
    cr_expect_eq(document.layers[1].compression, LAYER_PLAIN);
    cr_expect_eq(document.layers[2].compression, LAYER_ZSTD);
}

Test(manifest, the_type_comes_from_the_header_the_document_or_the_shape)
{
    static const struct {
        const char *text;
        const char *header;
        const char *media_type;
    } rows[] = {
        {MANIFEST, OCI_MANIFEST, OCI_MANIFEST},
        {MANIFEST, "Application/VND.oci.image.manifest.v1+json; charset=utf-8", OCI_MANIFEST},
        {MANIFEST, "application/json", OCI_MANIFEST},
        {MANIFEST, "", OCI_MANIFEST},
        {MANIFEST, DOCKER_V2, DOCKER_V2},
        {INDEX(ENTRY(1, ON("linux", "amd64"))), "", OCI_INDEX},
        {INDEX(ENTRY(1, ON("linux", "amd64"))), DOCKER_LIST, DOCKER_LIST},
        {"{" SCHEMA ",\"mediaType\":\"" DOCKER_LIST "\",\"manifests\":[]}", "text/plain",
         DOCKER_LIST},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct manifest_document document;
        struct error error = {0};
        cr_expect(parse(&arena, rows[i].text, rows[i].header, &document, &error), "row %zu: %s", i,
                  error.message);
        if (!error.code)
            cr_expect_str_eq(document.media_type, rows[i].media_type, "row %zu is %s", i,
                             rows[i].media_type);
    }
}

static const struct {
    const char *text;
    const char *header;
    const char *reason; /* part of the message */
} refused[] = {
    {"", "", "not valid JSON"},
    {"[]", "", "not a JSON object"},
    {"{", "", "line 1, column 1"},
    {MANIFEST "x", "", "not valid JSON"},
    {"{" SCHEMA "," SCHEMA "," CONFIG "," LAYERS(LAYER) "}", "", "duplicate"},
    {"{\"a\":\"\\u0000\"}", "", "not valid JSON"},
    {"{\"a\":\"\xff\"}", "", "not valid JSON"},
    {"{}", "", "not the type of an image"},
    {"{}", OCI_MANIFEST, "has no layers"},
    {"{" CONFIG "," LAYERS(LAYER) "}", "", "schemaVersion"},
    {"{\"schemaVersion\":3," CONFIG "," LAYERS(LAYER) "}", "", "schemaVersion"},
    {"{\"schemaVersion\":\"2\"," CONFIG "," LAYERS(LAYER) "}", "", "schemaVersion"},
    {"{" SCHEMA "," CONFIG "," LAYERS(LAYER) ",\"manifests\":[]}", OCI_MANIFEST,
     "as an index and as a"},
    {"{" SCHEMA "," LAYERS(LAYER) ",\"manifests\":[]}", OCI_INDEX, "as an index and as a"},
    {"{" SCHEMA "," CONFIG ",\"manifests\":[]}", OCI_INDEX, "as an index and as a"},
    {"{" SCHEMA ",\"config\":null,\"manifests\":[]}", OCI_INDEX, "as an index and as a"},
    {"{" SCHEMA ",\"fsLayers\":[],\"manifests\":[]}", OCI_INDEX, "as an index and as a"},
    {MANIFEST, OCI_INDEX, "called an index"},
    {INDEX(""), OCI_MANIFEST, "called a manifest"},
    {"{" SCHEMA ",\"mediaType\":\"" OCI_INDEX "\"," CONFIG "," LAYERS(LAYER) "}", OCI_MANIFEST,
     "came as"},
    {"{" SCHEMA ",\"mediaType\":\"" DOCKER_V2 "\"," CONFIG "," LAYERS(LAYER) "}", OCI_MANIFEST,
     "came as"},
    {"{" SCHEMA ",\"mediaType\":7," CONFIG "," LAYERS(LAYER) "}", "", "mediaType"},
    {"{\"schemaVersion\":1,\"fsLayers\":[],\"history\":[]}", "", "schema 1"},
    {"{\"schemaVersion\":1,\"fsLayers\":[]}",
     "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"},
    {"{" SCHEMA ",\"mediaType\":\"application/x\"," CONFIG "," LAYERS(LAYER) "}", "",
     "application/x"},
    {"{" SCHEMA "," CONFIG ",\"layers\":[]}", "", "no layers"},
    {"{" SCHEMA "," CONFIG "}", OCI_MANIFEST, "no layers"},
    {"{" SCHEMA "," CONFIG ",\"layers\":{}}", "", "no layers"},
    {"{" SCHEMA "," LAYERS(LAYER) "}", "", "its config"},
    {"{" SCHEMA ",\"config\":[]," LAYERS(LAYER) "}", "", "its config"},
    {"{" SCHEMA
     ",\"config\":" DESCRIPTOR("application/vnd.oci.empty.v1+json", 0, 2) "," LAYERS(LAYER) "}",
     "", "artifact"},
    {"{" SCHEMA ",\"config\":" DESCRIPTOR("application/vnd.cncf.helm.config.v1+json", 0,
                                          2) "," LAYERS(LAYER) "}",
     "", "helm"},
    {"{" SCHEMA ",\"config\":" DESCRIPTOR(OCI_CONFIG, 0, 4194305) "," LAYERS(LAYER) "}", "",
     "larger"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR("application/vnd.oci.image.layer."
                                                 "nondistributable.v1.tar+gzip",
                                                 1, 2)) "}",
     "", "not distributed"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR("application/vnd.docker.image.rootfs.foreign."
                                                 "diff.tar.gzip",
                                                 1, 2)) "}",
     "", "not distributed"},
    {"{" SCHEMA "," CONFIG
     "," LAYERS(LAYER "," DESCRIPTOR("application/vnd.in-toto+json", 1, 2)) "}",
     "", "layer 1"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR(OCI_LAYER "+gzip+encrypted", 1, 2)) "}", "",
     "encrypted"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR(OCI_LAYER, 1, -1)) "}", "", "size"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR(OCI_LAYER, 1, 1.5)) "}", "", "size"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR(OCI_LAYER, 1, 9223372036854775808)) "}", "",
     "not valid JSON"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR(OCI_LAYER, 1, "9")) "}", "", "size"},
    {"{" SCHEMA "," CONFIG "," LAYERS(DESCRIPTOR(OCI_LAYER, /../../ etc / passwd, 9)) "}", "",
     "digest"},
    {"{" SCHEMA "," CONFIG "," LAYERS("{\"mediaType\":\"" OCI_LAYER "\",\"size\":1}") "}", "",
     "digest"},
    {"{" SCHEMA "," CONFIG "," LAYERS("null") "}", "", "descriptor"},
    {"{" SCHEMA ",\"manifests\":{}}", "", "not an array"},
    {INDEX("{}"), "", "manifest 0"},
    {"{" SCHEMA "," CONFIG "," LAYERS(LAYER) ",\"Manifests\":[]}", "", "\"Manifests\" can be read"},
    {"{" SCHEMA "," CONFIG "," LAYERS(LAYER) ",\"manifest\xc5\xbf\":[]}", "", "can be read"},
    {"{" SCHEMA "," CONFIG "," LAYERS(LAYER) ",\"LAYERS\":[]}", "", "\"LAYERS\" can be read"},
    {"{" SCHEMA "," CONFIG "," LAYERS(LAYER) ",\"mediatype\":\"x\"}", "", "can be read"},
    {"{" SCHEMA ",\"manifests\":[],\"Layers\":[]}", "", "can be read"},
    {INDEX("{\"Digest\":\"x\"}"), "", "\"Digest\" can be read"},
    {INDEX(ENTRY(1, ",\"ArtifactType\":\"a/b\"")), "", "\"ArtifactType\" can be read"},
    {INDEX(ENTRY(1, ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\",\"OS\":\"a\"}")),
     "", "\"OS\" can be read"},
    {INDEX(ENTRY(1, ",\"platform\":{}")), "", "platform"},
    {INDEX(ENTRY(1, ON("lin ux", "amd64"))), "", "os"},
};

Test(manifest, what_is_no_image_is_refused_with_its_reason)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct manifest_document document;
        struct error error = {0};
        cr_expect_not(parse(&arena, refused[i].text, refused[i].header, &document, &error),
                      "row %zu is refused: %s", i, refused[i].text);
        cr_expect_eq(error.code, ERROR_UNSUPPORTED_MANIFEST, "row %zu is an unsupported manifest",
                     i);
        cr_expect(strstr(error.message, refused[i].reason), "row %zu: \"%s\" says \"%s\"", i,
                  error.message, refused[i].reason);
    }
}

static char *repeated(const char *start, const char *piece, size_t count, const char *end)
{
    size_t piece_length = strlen(piece);
    char *text = malloc(strlen(start) + count * piece_length + strlen(end) + 1);
    cr_assert(text);
    char *at = stpcpy(text, start);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, piece);
    stpcpy(at, end);
    return text;
}

Test(manifest, more_than_the_bounds_is_refused)
{
    static const struct {
        const char *start;
        const char *piece;
        size_t count;
        const char *end;
        const char *reason;
    } rows[] = {
        {"{" SCHEMA "," CONFIG ",\"layers\":[" LAYER, "," LAYER, 1024, "]}", "1025 layers"},
        {"{" SCHEMA ",\"manifests\":[" ENTRY(1, ""), "," ENTRY(1, ""), 1024, "]}", "1025"},
        {"{\"a\":\"", "aaaaaaaa", 1 << 19, "\"}", "larger than"},
        {"{\"a\":", "[", 100000, "", "deeper"},
        {"{\"a\":[0", ",0", 1 << 18, "]}", "more than 262144 values"},
        {"{\"a\":[[]", ",[]", 1 << 17, "]}", "more than 262144 values"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct manifest_document document;
        struct error error = {0};
        cleanup_free char *text =
            repeated(rows[i].start, rows[i].piece, rows[i].count, rows[i].end);
        cr_expect_not(parse(&arena, text, "", &document, &error), "row %zu is refused", i);
        cr_expect(strstr(error.message, rows[i].reason), "row %zu: %s", i, error.message);
    }
}

Test(manifest, what_just_meets_the_bounds_is_taken_and_one_more_is_not)
{
    static const struct {
        const char *start;
        const char *piece;
        size_t most;
        const char *end;
        const char *reason;
    } rows[] = {
        {"{" SCHEMA "," CONFIG ",\"layers\":[" LAYER, "," LAYER, 1023, "]}", "1025 layers"},
        {"{" SCHEMA ",\"manifests\":[" ENTRY(1, ""), "," ENTRY(1, ""), 1023, "]}", "1025"},
        {"{" SCHEMA "," CONFIG "," LAYERS(LAYER) ",\"x\":", "[", 63, "", "deeper than 64"},
        {"{" SCHEMA "," CONFIG "," LAYERS(LAYER) ",\"x\":{\"y\":", "[", 62, "}", "deeper than 64"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t more = 0; more < 2; more++) {
            cleanup_arena struct arena arena = {0};
            struct manifest_document document;
            struct error error = {0};
            const size_t count = rows[i].most + more;
            cleanup_free char *text = repeated(rows[i].start, rows[i].piece, count, "");
            cleanup_free char *ends = repeated("", "]", rows[i].piece[0] == '[' ? count : 0, "");
            const char *whole = arena_printf(&arena, "%s%s%s%s", text, ends, rows[i].end,
                                             rows[i].piece[0] == '[' ? "}" : "");
            cr_expect_eq(parse(&arena, whole, "", &document, &error), more == 0, "row %zu: %s", i,
                         error.message);
            cr_expect(more == 0 || strstr(error.message, rows[i].reason), "row %zu: %s", i,
                      error.message);
        }
}

static const char fleet[] =
    INDEX(ENTRY(1, ON("linux", "amd64")) "," ENTRY(2, ON3("linux", "arm64", "v8")) "," ENTRY(
        3,
        ON3("linux", "arm",
            "v6")) "," ENTRY(4,
                             ON3("linux", "arm",
                                 "v7")) "," ENTRY(5,
                                                  ON("unknown",
                                                     "unknown")) "," ENTRY(6,
                                                                           ON("windows",
                                                                              "amd64")) "," ENTRY(7,
                                                                                                  ON("linux",
                                                                                                     "amd64")));

Test(manifest, an_index_gives_the_best_manifest_for_a_platform)
{
    static const char *const rows[][2] = {
        {"linux/amd64", DIGEST(1)},    {"linux/amd64/v3", DIGEST(1)}, {"linux/arm64", DIGEST(2)},
        {"linux/arm64/v9", DIGEST(2)}, {"linux/arm/v7", DIGEST(4)},   {"linux/arm", DIGEST(4)},
        {"linux/arm/v6", DIGEST(3)},   {"windows/amd64", DIGEST(6)},
    };
    cleanup_arena struct arena arena = {0};
    struct manifest_document document;
    struct error error = {0};
    cr_assert(parse(&arena, fleet, OCI_INDEX, &document, &error), "%s", error.message);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct platform wanted;
        const struct index_entry *chosen;
        char digest[DIGEST_TEXT_SIZE];
        cr_assert(platform_parse(rows[i][0], &wanted, &error));
        cr_assert(manifest_choose(&document, &wanted, &chosen, &error), "%s", error.message);
        digest_format(&chosen->manifest.digest, digest);
        cr_expect_str_eq(digest, rows[i][1], "%s is %s, not %s", rows[i][0], rows[i][1], digest);
    }
}

Test(manifest, a_missing_platform_is_told_with_what_there_is)
{
    cleanup_arena struct arena arena = {0};
    struct manifest_document document;
    struct platform wanted;
    const struct index_entry *chosen;
    struct error error = {0};
    cr_assert(parse(&arena, fleet, OCI_INDEX, &document, &error), "%s", error.message);
    cr_assert(platform_parse("linux/s390x", &wanted, &error));
    cr_assert_not(manifest_choose(&document, &wanted, &chosen, &error));
    cr_expect_eq(error.code, ERROR_PLATFORM_NOT_FOUND);
    cr_expect_str_eq(error.message, "there is no image for linux/s390x, only for linux/amd64, "
                                    "linux/arm64, linux/arm/v6, linux/arm/v7, windows/amd64, "
                                    "linux/amd64");
}

Test(manifest, attestations_artifacts_and_nested_indexes_are_no_candidates)
{
    cleanup_arena struct arena arena = {0};
    struct manifest_document document;
    struct platform wanted = platform_of_machine();
    const struct index_entry *chosen;
    struct error error = {0};
    const char *text = INDEX(
        ENTRY(1, ON("unknown", "unknown")) "," ENTRY(2, ",\"artifactType\":\"a/b\"") "," DESCRIPTOR(
            OCI_INDEX, 3, 9) "," DESCRIPTOR("application/x", 4, 9));
    cr_assert(parse(&arena, text, "", &document, &error), "%s", error.message);
    cr_expect_eq(document.entry_count, 0, "none of the four is an image");
    cr_expect_not(manifest_choose(&document, &wanted, &chosen, &error));
    cr_expect(strstr(error.message, "lists no images"), "%s", error.message);
}

Test(manifest, a_single_manifest_without_platform_is_taken_but_two_are_not)
{
    static const struct {
        const char *text;
        bool found;
    } rows[] = {
        {INDEX(ENTRY(1, "")), true},
        {INDEX(ENTRY(1, "") "," ENTRY(2, "")), false},
        {INDEX(ENTRY(1, "") "," ENTRY(2, ON("linux", "s390x"))), false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cleanup_arena struct arena arena = {0};
        struct manifest_document document;
        struct platform wanted = {.os = "linux", .architecture = "amd64"};
        const struct index_entry *chosen;
        struct error error = {0};
        cr_assert(parse(&arena, rows[i].text, "", &document, &error), "%s", error.message);
        cr_expect_eq(manifest_choose(&document, &wanted, &chosen, &error), rows[i].found, "row %zu",
                     i);
    }
}
