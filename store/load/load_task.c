#include "store/load/load_task.h"

#include <stdio.h>

/* Where the blobs of a task's manifest lie. */
struct blobs {
    const struct archive *archive;
    const struct archive_member **layers; /* as the manifest lists them */
};

/* A pull_blob_fetcher: the blob comes out of the archive. */
static bool fetch_blob(struct pull_task *task, const struct manifest_layer *layer,
                       registry_sink *sink, void *context, struct error *error)
{
    enum { PIECE_BYTES = 256 << 10 };
    const struct blobs *blobs = task->blobs;
    const struct archive_member *member = blobs->layers[layer - task->manifest.layers];
    cleanup_free char *piece = malloc(PIECE_BYTES);
    if (!piece)
        abort();
    for (uint64_t offset = 0; offset < member->size_bytes;) {
        uint64_t left = member->size_bytes - offset;
        size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        if (atomic_load(&task->stop))
            return error_set(error, ERROR_PULL_CANCELLED, "the load was cancelled");
        if (!archive_read(blobs->archive, member, offset, piece, size, error) ||
            !sink(context, piece, size, error))
            return false;
        offset += size;
    }
    return true;
}

static struct registry_document document_of(const struct archive_document *document,
                                            const char *media_type)
{
    struct registry_document found = {
        .bytes = document->bytes,
        .size_bytes = document->size_bytes,
        .digest = document->digest,
    };
    snprintf(found.media_type, sizeof(found.media_type), "%s", media_type);
    return found;
}

void load_task_fill(struct pull_task *task, const struct puller_config *config,
                    const struct archive *archive, const struct archive_image *image)
{
    struct blobs *blobs = arena_alloc(&task->arena, sizeof(*blobs));
    *blobs = (struct blobs){archive, image->layers};
    task->config = config;
    task->reference = image->reference;
    task->wanted = image->platform;
    task->is_from_index = image->is_from_index;
    digest_format(&image->index_digest, task->index_digest);
    task->manifest_bytes = document_of(&image->manifest_bytes, image->manifest.media_type);
    task->config_bytes = document_of(&image->config_bytes, image->manifest.config.media_type);
    task->manifest = image->manifest;
    task->image_config = image->config;
    task->platform = image->platform;
    task->fetch_blob = fetch_blob;
    task->blobs = blobs;
}
