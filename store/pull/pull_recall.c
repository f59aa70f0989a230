/* An image that is in the catalogue but lost files is rebuilt as it is there: the registry is
 * asked for missing layers only, and what the tag means today does not matter. */
#include "store/pull/pull_task.h"

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

bool pull_recall(struct pull_task *task, bool *recalled, struct error *error)
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
    task->platform = task->wanted;
    *recalled = true;
    return manifest_parse(&task->arena, manifest->bytes, manifest->size_bytes, manifest->media_type,
                          &task->manifest, error) &&
           image_config_parse(&task->arena, task->config_bytes.bytes, task->config_bytes.size_bytes,
                              &task->image_config, error);
}
