#include "store/load/archive_images.h"

#include "archives.h"
#include "tars.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OCI           "application/vnd.oci.image."
#define LAYER_CONTENT "no tar, but nobody looks into it here"

static struct arena texts;

static void forget_texts(void)
{
    arena_free(&texts);
    blobs_free();
}

TestSuite(archive_images, .fini = forget_texts, .timeout = 60);

static const char *digest_text(const char *content)
{
    struct digest digest = digest_of(content, strlen(content));
    char text[DIGEST_TEXT_SIZE];
    digest_format(&digest, text);
    return arena_strdup(&texts, text);
}

/* Adds a blob, and gives the descriptor that leads to it; `more` are further members. */
static const char *add_blob(struct bytes *tar, const char *type, const char *content,
                            const char *more)
{
    const char *digest = digest_text(content);
    char name[100];
    snprintf(name, sizeof(name), "blobs/sha256/%s", digest + strlen("sha256:"));
    tars_append_file(tar, name, content, strlen(content));
    return arena_printf(&texts, "{\"mediaType\": \"%s\", \"digest\": \"%s\", \"size\": %zu%s}",
                        type, digest, strlen(content), more);
}

static const char *config_for(const char *architecture)
{
    return arena_printf(&texts,
                        "{\"os\": \"linux\", \"architecture\": \"%s\", \"rootfs\":"
                        " {\"type\": \"layers\", \"diff_ids\": [\"%s\"]}}",
                        architecture, digest_text(LAYER_CONTENT));
}

static const char *platform_of(const char *architecture)
{
    return arena_printf(&texts, ", \"platform\": {\"os\": \"linux\", \"architecture\": \"%s\"}",
                        architecture);
}

static const char *named(const char *key, const char *name)
{
    return arena_printf(&texts, ", \"annotations\": {\"%s\": \"%s\"}", key, name);
}

#define FULL "io.containerd.image.name"
#define REF  "org.opencontainers.image.ref.name"

/* Adds an image of one layer for linux; its descriptor. */
static const char *add_image(struct bytes *tar, const char *architecture, const char *more)
{
    const char *layer = add_blob(tar, OCI "layer.v1.tar", LAYER_CONTENT, "");
    const char *config = add_blob(tar, OCI "config.v1+json", config_for(architecture), "");
    const char *manifest = arena_printf(
        &texts, "{\"schemaVersion\": 2, \"config\": %s, \"layers\": [%s]}", config, layer);
    return add_blob(tar, OCI "manifest.v1+json", manifest, more);
}

static const char *index_of(const char *descriptors)
{
    return arena_printf(&texts, "{\"schemaVersion\": 2, \"manifests\": [%s]}", descriptors);
}

static void add_index_json(struct bytes *tar, const char *descriptors)
{
    const char *index = index_of(descriptors);
    tars_append_file(tar, "index.json", index, strlen(index));
    tars_end(tar);
}

/* Docker's old layout, of one image. */
static struct bytes docker_archive(const char *entries)
{
    struct bytes tar = {0};
    const char *config = config_for("amd64");
    tars_append_file(&tar, "aa/layer.tar", LAYER_CONTENT, strlen(LAYER_CONTENT));
    tars_append_header(&tar, "bb/layer.tar", '2', "../aa/layer.tar", 0);
    tars_append_file(&tar, "config.json", config, strlen(config));
    tars_append_file(&tar, "manifest.json", entries, strlen(entries));
    tars_end(&tar);
    return tar;
}

struct listed {
    struct outcome outcome;
    struct archive_images images;
    bool succeeded;
    struct error error;
    char text[4096]; /* "reference platform, reference platform" */
};

static void describe(struct listed *listed)
{
    size_t used = 0;
    for (size_t i = 0; i < listed->images.count; i++) {
        char reference[REFERENCE_TEXT_SIZE];
        char platform[PLATFORM_TEXT_SIZE];
        reference_format(&listed->images.images[i].reference, reference);
        platform_format(&listed->images.images[i].platform, platform);
        used += (size_t)snprintf(listed->text + used, sizeof(listed->text) - used, "%s%s %s",
                                 i ? ", " : "", reference, platform);
    }
}

static struct listed list(const struct bytes *tar, const char *reference_text,
                          const char *platform_text)
{
    struct listed listed = {
        .outcome = archives_unpack((struct body){.bytes = *tar, .piece = 1 << 20}, &ample_limits)};
    struct reference reference;
    struct platform platform;
    cr_assert(listed.outcome.succeeded, "%s", listed.outcome.error.message);
    cr_assert(!reference_text || reference_parse(reference_text, &reference, &listed.error));
    cr_assert(!platform_text || platform_parse(platform_text, &platform, &listed.error));
    const struct archive_choice choice = {reference_text ? &reference : NULL,
                                          platform_text ? &platform : NULL, 128};
    listed.succeeded = archive_list_images(&listed.outcome.archive, &choice, &listed.outcome.arena,
                                           &listed.images, &listed.error);
    if (listed.succeeded)
        describe(&listed);
    return listed;
}

static void expect_images(const struct bytes *tar, const char *reference, const char *platform,
                          const char *expected)
{
    struct listed listed = list(tar, reference, platform);
    cr_assert(listed.succeeded, "\"%s\" was expected: %s", expected, listed.error.message);
    cr_expect_str_eq(listed.text, expected);
    archives_forget(&listed.outcome);
}

static void expect_refusal(const struct bytes *tar, const char *platform, enum error_code code,
                           const char *fragment)
{
    struct listed listed = list(tar, NULL, platform);
    cr_expect_not(listed.succeeded, "\"%s\" was expected, not %s", fragment, listed.text);
    cr_expect_eq(listed.error.code, code, "%s was expected, not %s: %s", error_code_name(code),
                 error_code_name(listed.error.code), listed.error.message);
    cr_expect(strstr(listed.error.message, fragment), "\"%s\" tells of \"%s\"",
              listed.error.message, fragment);
    archives_forget(&listed.outcome);
}

Test(archive_images, a_layout_names_its_images_in_either_way)
{
    const struct {
        const char *more;
        const char *expected;
    } cases[] = {
        {named(FULL, "docker.io/library/app:1"), "docker.io/library/app:1 linux/amd64"},
        {named(REF, "ghcr.io/o/app"), "ghcr.io/o/app:latest linux/amd64"},
        {named(REF, "app:2"), "docker.io/library/app:2 linux/amd64"},
        {named(FULL, "q.io/full:1\", \"" REF "\": \"1"), "q.io/full:1 linux/amd64"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes tar = {0};
        add_index_json(&tar, add_image(&tar, "amd64", cases[i].more));
        expect_images(&tar, NULL, NULL, cases[i].expected);
        expect_images(&tar, "q.io/other:3", NULL, "q.io/other:3 linux/amd64");
    }
}

Test(archive_images, a_bare_tag_or_nothing_is_no_name)
{
    const char *const nameless[] = {"", named(REF, "latest"), named(FULL, "")};
    for (size_t i = 0; i < sizeof(nameless) / sizeof(nameless[0]); i++) {
        struct bytes tar = {0};
        add_index_json(&tar, add_image(&tar, "amd64", nameless[i]));
        expect_refusal(&tar, NULL, ERROR_INVALID_ARGUMENT, "?reference=");
        expect_images(&tar, "q.io/given:1", NULL, "q.io/given:1 linux/amd64");
    }
}

Test(archive_images, only_the_first_image_takes_the_given_name)
{
    struct bytes tar = {0};
    const char *one = add_image(&tar, "amd64", named(REF, "q.io/one:1"));
    const char *two = add_image(&tar, "arm64", named(REF, "q.io/two:1"));
    add_index_json(&tar, arena_printf(&texts, "%s, %s", one, two));
    expect_images(&tar, NULL, NULL, "q.io/one:1 linux/amd64, q.io/two:1 linux/arm64");
    expect_images(&tar, "q.io/given:1", NULL, "q.io/given:1 linux/amd64, q.io/two:1 linux/arm64");
}

/* An index of two platforms, and an attestation that comes with it. */
static struct bytes two_platforms(bool both_are_there)
{
    struct bytes tar = {0};
    struct bytes elsewhere = {0};
    const char *amd64 = add_image(&tar, "amd64", platform_of("amd64"));
    const char *arm64 =
        add_image(both_are_there ? &tar : &elsewhere, "arm64", platform_of("arm64"));
    const char *proof = add_image(
        &tar, "amd64", ", \"platform\": {\"os\": \"unknown\", \"architecture\": \"unknown\"}");
    const char *index = index_of(arena_printf(&texts, "%s, %s, %s", amd64, arm64, proof));
    add_index_json(&tar, add_blob(&tar, OCI "index.v1+json", index, named(FULL, "q.io/multi:1")));
    return tar;
}

Test(archive_images, each_platform_of_an_index_is_an_image)
{
    struct bytes tar = two_platforms(true);
    expect_images(&tar, NULL, NULL, "q.io/multi:1 linux/amd64, q.io/multi:1 linux/arm64");
    expect_images(&tar, "q.io/a:1", NULL, "q.io/a:1 linux/amd64, q.io/a:1 linux/arm64");
    expect_images(&tar, NULL, "arm64", "q.io/multi:1 linux/arm64");
    expect_images(&tar, NULL, "linux/amd64/v3", "q.io/multi:1 linux/amd64");
    expect_refusal(&tar, "riscv64", ERROR_PLATFORM_NOT_FOUND, "only for linux/amd64, linux/arm64");
    struct listed listed = list(&tar, NULL, NULL);
    cr_expect(listed.images.images[0].is_from_index, "and the index is remembered");
    archives_forget(&listed.outcome);
}

Test(archive_images, a_platform_that_was_not_saved_is_left_out)
{
    struct bytes tar = two_platforms(false);
    expect_images(&tar, NULL, NULL, "q.io/multi:1 linux/amd64");
    expect_images(&tar, NULL, "amd64", "q.io/multi:1 linux/amd64");
    expect_refusal(&tar, "arm64", ERROR_PLATFORM_NOT_FOUND, "only for linux/amd64");
}

Test(archive_images, platforms_side_by_side_under_one_name_are_told_apart_by_their_configs)
{
    struct bytes tar = {0};
    const char *name = named(REF, "q.io/flat:1");
    const char *one = add_image(&tar, "386", name);
    const char *two = add_image(&tar, "amd64", name);
    add_index_json(&tar, arena_printf(&texts, "%s, %s", one, two));
    expect_images(&tar, NULL, NULL, "q.io/flat:1 linux/386, q.io/flat:1 linux/amd64");
    expect_images(&tar, NULL, "amd64", "q.io/flat:1 linux/amd64");
    expect_images(&tar, NULL, "386", "q.io/flat:1 linux/386");
}

Test(archive_images, a_name_with_a_digest_must_have_that_content)
{
    struct bytes tar = {0};
    const char *image = add_image(&tar, "amd64", "");
    const char *digest = strstr(image, "sha256:");
    const char *good = arena_printf(&texts, "q.io/a@%.*s", DIGEST_TEXT_SIZE - 1, digest);
    add_index_json(&tar, image);
    expect_images(&tar, good, NULL, arena_printf(&texts, "%s linux/amd64", good));

    struct bytes other = {0};
    const char *name = arena_printf(&texts, "q.io/a@%s", digest_text("something else"));
    add_index_json(&other, add_image(&other, "amd64", named(FULL, name)));
    expect_refusal(&other, NULL, ERROR_INVALID_ARGUMENT, "has the digest sha256:");
}

Test(archive_images, what_is_missing_or_damaged_is_named)
{
    static const char digest[] =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const char *descriptor = arena_printf(
        &texts, "{\"mediaType\": \"" OCI "manifest.v1+json\", \"digest\": \"%s\", \"size\": 7%s}",
        digest, named(REF, "q.io/a:1"));
    const char *manifest = arena_printf(
        &texts,
        "{\"schemaVersion\": 2, \"config\": {\"mediaType\": \"" OCI "config.v1+json\","
        " \"digest\": \"%s\", \"size\": 3}, \"layers\": [{\"mediaType\": \"" OCI "layer.v1.tar\","
        " \"digest\": \"%s\", \"size\": 3}]}",
        digest, digest);
    struct bytes tars[4] = {0};
    add_index_json(&tars[0], descriptor);
    expect_refusal(&tars[0], NULL, ERROR_INVALID_ARGUMENT, "lacks the blob sha256:ba7816");

    tars_append_file(&tars[1], arena_printf(&texts, "blobs/sha256/%s", digest + 7), "abd", 3);
    add_index_json(&tars[1], descriptor);
    expect_refusal(&tars[1], NULL, ERROR_INVALID_ARGUMENT, "damaged: a manifest sha256:ba7816");

    add_index_json(&tars[2],
                   add_blob(&tars[2], OCI "manifest.v1+json", manifest, named(REF, "q.io/a:1")));
    expect_refusal(&tars[2], NULL, ERROR_INVALID_ARGUMENT, "lacks the blob sha256:ba7816");

    tars_append_file(&tars[3], arena_printf(&texts, "blobs/sha256/%s", digest + 7), "abc", 3);
    add_index_json(&tars[3],
                   add_blob(&tars[3], OCI "manifest.v1+json", manifest, named(REF, "q.io/a:1")));
    expect_refusal(&tars[3], NULL, ERROR_UNSUPPORTED_MANIFEST, "the image config");
}

Test(archive_images, an_archive_without_images_is_refused)
{
    struct bytes empty = {0};
    tars_append_file(&empty, "etc/passwd", "root", 4);
    tars_end(&empty);
    expect_refusal(&empty, NULL, ERROR_INVALID_ARGUMENT, "neither an index.json nor");
    struct bytes layout = {0};
    add_index_json(&layout, "");
    expect_refusal(&layout, NULL, ERROR_INVALID_ARGUMENT, "lists no images");
    struct bytes docker = docker_archive("[]");
    expect_refusal(&docker, NULL, ERROR_INVALID_ARGUMENT, "lists no images");
}

Test(archive_images, docker_names_its_images_by_their_tags)
{
    struct bytes tar =
        docker_archive("[{\"Config\": \"config.json\", \"RepoTags\": [\"app:1\", \"q.io/app:2\"],"
                       "  \"Layers\": [\"bb/layer.tar\"]}]");
    expect_images(&tar, NULL, NULL, "docker.io/library/app:1 linux/amd64, q.io/app:2 linux/amd64");
    expect_images(&tar, "q.io/given:1", NULL, "q.io/given:1 linux/amd64");
    expect_images(&tar, NULL, "amd64",
                  "docker.io/library/app:1 linux/amd64, q.io/app:2 linux/amd64");
    expect_refusal(&tar, "arm64", ERROR_PLATFORM_NOT_FOUND, "only for linux/amd64");
    struct listed listed = list(&tar, NULL, NULL);
    const struct archive_image *image = &listed.images.images[0];
    struct digest layer = digest_of(LAYER_CONTENT, strlen(LAYER_CONTENT));
    cr_expect_str_eq(image->layers[0]->name, "aa/layer.tar", "the link was followed");
    cr_expect(digest_equal(&image->manifest.layers[0].blob.digest, &layer),
              "a plain tar's blob is the tar");
    archives_forget(&listed.outcome);
}

Test(archive_images, docker_archives_that_lie_are_refused)
{
    const struct {
        const char *entries;
        enum error_code code;
        const char *message;
    } cases[] = {
        {"{}", ERROR_INVALID_ARGUMENT, "is not a JSON array"},
        {"[{\"Config\": \"config.json\", \"Layers\": [\"aa/layer.tar\"]}]", ERROR_INVALID_ARGUMENT,
         "?reference="},
        {"[{\"Config\": \"none.json\", \"RepoTags\": [\"a\"], \"Layers\": [\"aa/layer.tar\"]}]",
         ERROR_INVALID_ARGUMENT, "lacks \"none.json\""},
        {"[{\"Config\": \"/etc/passwd\", \"RepoTags\": [\"a\"], \"Layers\": [\"aa/layer.tar\"]}]",
         ERROR_INVALID_ARGUMENT, "lacks \"/etc/passwd\""},
        {"[{\"Config\": \"config.json\", \"RepoTags\": [\"a\"], \"Layers\": [\"cc/layer.tar\"]}]",
         ERROR_INVALID_ARGUMENT, "lacks \"cc/layer.tar\""},
        {"[{\"Config\": \"config.json\", \"RepoTags\": [\"a\"], \"Layers\": []}]",
         ERROR_UNSUPPORTED_MANIFEST, "diff_ids"},
        {"[{\"Config\": \"config.json\", \"RepoTags\": [\"a\"], \"Layers\": [7]}]",
         ERROR_INVALID_ARGUMENT, "no name"},
        {"[{\"Config\": \"config.json\", \"RepoTags\": [\"A\"], \"Layers\": [\"aa/layer.tar\"]}]",
         ERROR_INVALID_REFERENCE, "\"A\""},
        {"[{\"Config\": \"aa/layer.tar\", \"RepoTags\": [\"a\"], \"Layers\": [\"aa/layer.tar\"]}]",
         ERROR_UNSUPPORTED_MANIFEST, "the image config"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes tar = docker_archive(cases[i].entries);
        expect_refusal(&tar, NULL, cases[i].code, cases[i].message);
    }
}

Test(archive_images, a_layer_of_docker_may_be_compressed)
{
    struct bytes gzip = {0};
    blobs_append_gzip_member(&gzip, LAYER_CONTENT, strlen(LAYER_CONTENT));
    struct bytes tar = {0};
    const char *config = config_for("amd64");
    const char *entries =
        "[{\"Config\": \"c\", \"RepoTags\": [\"a\"], \"Layers\": [\"l.tar.gz\"]}]";
    tars_append_file(&tar, "manifest.json", entries, strlen(entries));
    tars_append_file(&tar, "l.tar.gz", gzip.data, gzip.size);
    tars_append_file(&tar, "c", config, strlen(config));
    tars_end(&tar);
    struct listed listed = list(&tar, NULL, NULL);
    cr_assert(listed.succeeded, "%s", listed.error.message);
    const struct manifest_layer *layer = &listed.images.images[0].manifest.layers[0];
    struct digest digest = digest_of(gzip.data, gzip.size);
    cr_expect_eq(layer->compression, LAYER_GZIP);
    cr_expect_eq(layer->blob.size_bytes, gzip.size);
    cr_expect(digest_equal(&layer->blob.digest, &digest), "the blob is what the archive has");
    archives_forget(&listed.outcome);
}

Test(archive_images, a_layout_wins_over_dockers_own_list_beside_it)
{
    struct bytes tar = {0};
    const char *entries = "[{\"Config\": \"none\", \"RepoTags\": [\"a\"], \"Layers\": []}]";
    tars_append_file(&tar, "manifest.json", entries, strlen(entries));
    add_index_json(&tar, add_image(&tar, "amd64", named(REF, "q.io/layout:1")));
    expect_images(&tar, NULL, NULL, "q.io/layout:1 linux/amd64");
}
