/* An image that is in the catalogue but lost files is rebuilt as it is there: the registry is
 * asked for missing layers only, and what the tag means today does not matter. The same goes for
 * one that is in the directory and that the catalogue lost. */
#include "store/description.h"
#include "store/pull/pull_task.h"
#include "store/unknown_files.h"

#include <stdlib.h>
#include <string.h>

static bool find_documents(struct pull_task *task, struct rows *rows, struct error *error)
{
    static const struct statement find = {
        "image_documents",
        "SELECT m.media_type, m.raw, c.raw, r.index_digest"
        "  FROM image_refs r JOIN manifests m ON m.digest = r.manifest_digest"
        "  JOIN configs c ON c.digest = m.config_digest"
        " WHERE r.reference = $1 AND r.os = $2 AND r.architecture = $3 AND r.variant = $4"};
    cleanup_session struct catalogue_session *session =
        catalogue_acquire(task->config->catalogue, error);
    return session && QUERY(session, &find, &task->arena, rows, error, task->pull.reference,
                            task->wanted.os, task->wanted.architecture, task->wanted.variant);
}

static void take_document(struct pull_task *task, const struct rows *rows, size_t column,
                          struct registry_document *document)
{
    document->bytes = rows_bytes(rows, 0, column, &task->arena, &document->size_bytes);
    document->digest = digest_of(document->bytes, document->size_bytes);
}

static bool is_its_config(const struct pull_task *task, struct error *error)
{
    return (task->manifest.kind == MEDIA_MANIFEST &&
            digest_equal(&task->manifest.config.digest, &task->config_bytes.digest)) ||
           error_set(error, ERROR_UNSUPPORTED_MANIFEST,
                     "what is kept of %s is no manifest with its config", task->pull.reference);
}

/* Manifest and config as they stand in the task. They were checked when they came, but who can
 * write to the directory may have put others there. */
static bool parse_documents(struct pull_task *task, struct error *error)
{
    const struct registry_document *manifest = &task->manifest_bytes;
    task->platform = task->wanted;
    return manifest_parse(&task->arena, manifest->bytes, manifest->size_bytes, manifest->media_type,
                          &task->manifest, error) &&
           is_its_config(task, error) &&
           image_config_parse(&task->arena, task->config_bytes.bytes, task->config_bytes.size_bytes,
                              &task->image_config, error) &&
           image_config_check(&task->image_config, task->manifest.layer_count, NULL, error);
}

static bool recall_row(struct pull_task *task, bool *recalled, struct error *error)
{
    enum { MEDIA_TYPE, MANIFEST, CONFIG, INDEX_DIGEST };
    struct rows rows;
    *recalled = false;
    if (!find_documents(task, &rows, error))
        return false;
    if (rows.count == 0)
        return true;
    struct registry_document *manifest = &task->manifest_bytes;
    snprintf(manifest->media_type, sizeof(manifest->media_type), "%s",
             rows_text(&rows, 0, MEDIA_TYPE));
    take_document(task, &rows, MANIFEST, manifest);
    take_document(task, &rows, CONFIG, &task->config_bytes);
    const char *index_digest = rows_text(&rows, 0, INDEX_DIGEST);
    task->is_from_index = index_digest;
    if (index_digest)
        snprintf(task->index_digest, sizeof(task->index_digest), "%s", index_digest);
    *recalled = true;
    return parse_documents(task, error);
}

/* --- from a description that the catalogue does not know, and that is not condemned --- */

static bool is_lost(struct pull_task *task, const struct digest *key, bool *lost,
                    struct error *error)
{
    struct unknown_files unknown;
    if (!unknown_files_find(task->config->catalogue, BLOB_MANIFEST, key, 1, &task->arena, &unknown,
                            error))
        return false;
    *lost = unknown.count > 0;
    return true;
}

static struct registry_document copy_document(struct pull_task *task, const char *bytes,
                                              size_t size_bytes, const char *media_type)
{
    struct registry_document document = {
        .bytes = arena_strndup(&task->arena, bytes, size_bytes),
        .size_bytes = size_bytes,
        .digest = digest_of(bytes, size_bytes),
    };
    snprintf(document.media_type, sizeof(document.media_type), "%s", media_type);
    return document;
}

static void remember_layers(struct pull_task *task, const struct description *description)
{
    size_t count = json_array_size(description->layers);
    task->remembered = arena_alloc_array(&task->arena, count, sizeof(*task->remembered));
    for (size_t i = 0; i < count; i++) {
        struct description_layer layer;
        if (description_layer(description, i, &layer))
            task->remembered[task->remembered_count++] = (struct layer_record){
                .diff_id = layer.diff_id,
                .erofs_size_bytes = layer.erofs_size_bytes,
                .erofs_digest = layer.erofs_digest,
                .tar_size_bytes = layer.tar_size_bytes,
            };
    }
}

static bool recall_description(struct pull_task *task, bool *recalled, struct error *error)
{
    struct digest key = digest_of(task->pull.reference, strlen(task->pull.reference));
    struct digest index;
    struct error why;
    bool lost = false;
    cleanup_fd int fd = blob_open(task->config->blobdir, BLOB_MANIFEST, &key, &why);
    if (fd < 0)
        return true;
    if (!is_lost(task, &key, &lost, error))
        return false;
    cleanup_description struct description description = {0};
    if (!lost || !description_read(fd, &description, &why) || !description.reference ||
        strcmp(description.reference, task->pull.reference) != 0 ||
        strcmp(description.platform, task->pull.platform) != 0)
        return true; /* the registry is asked, as for any image that is not here */
    task->manifest_bytes =
        copy_document(task, description.manifest, description.manifest_size_bytes,
                      description.manifest_media_type);
    task->config_bytes = copy_document(task, description.config, description.config_size_bytes, "");
    if (!parse_documents(task, &why))
        return true;
    task->is_from_index =
        description.index_digest && digest_parse(description.index_digest, &index);
    if (task->is_from_index)
        digest_format(&index, task->index_digest);
    remember_layers(task, &description);
    *recalled = true;
    return true;
}

bool pull_recall(struct pull_task *task, bool *recalled, struct error *error)
{
    *recalled = false;
    return recall_row(task, recalled, error) &&
           (*recalled || recall_description(task, recalled, error));
}
