/* store/registry/manifest.h: the first byte picks the Content-Type. Whatever parses
 * keeps the header's promises, and its kind is what the Content-Type says. */
#include "store/registry/manifest.h"

#include <assert.h>

static const char *const content_types[] = {
    "",
    "application/json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8",
};

static void check_index(const struct manifest_document *document)
{
    struct platform wanted = platform_of_machine();
    const struct index_entry *chosen = NULL;
    struct error error = {0};
    assert(document->layer_count == 0);
    for (size_t i = 0; i < document->entry_count; i++)
        assert(document->entries[i].manifest.size_bytes <= INT64_MAX);
    if (manifest_choose(document, &wanted, &chosen, &error))
        assert(chosen >= document->entries && chosen < document->entries + document->entry_count);
    else
        assert(error.code == ERROR_PLATFORM_NOT_FOUND);
}

static void check_manifest(const struct manifest_document *document)
{
    assert(document->entry_count == 0);
    assert(document->layer_count > 0 && document->layer_count <= MANIFEST_MAX_LAYERS);
    for (size_t i = 0; i < document->layer_count; i++) {
        assert(document->layers[i].blob.media_type[0]);
        assert(document->layers[i].blob.size_bytes <= INT64_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    cleanup_arena struct arena arena = {0};
    struct manifest_document document;
    struct error error = {0};
    if (size_bytes == 0)
        return 0;
    const char *content_type =
        content_types[data[0] % (sizeof(content_types) / sizeof(content_types[0]))];
    if (!manifest_parse(&arena, data + 1, size_bytes - 1, content_type, &document, &error)) {
        assert(error.code == ERROR_UNSUPPORTED_MANIFEST);
        return 0;
    }
    char header[MEDIA_TYPE_SIZE];
    media_type_normalise(content_type, header);
    enum media_kind said = media_type_kind(header);
    assert(said == MEDIA_UNKNOWN || said == document.kind);
    if (document.kind == MEDIA_INDEX)
        check_index(&document);
    else
        check_manifest(&document);
    return 0;
}
