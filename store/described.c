#include "store/described.h"

#include "store/description.h"

#include <stdlib.h>
#include <string.h>

struct digest described_key(const char *reference)
{
    return digest_of(reference, strlen(reference));
}

static bool is_catalogued(struct catalogue_session *session, const char *reference,
                          const struct platform *platform, const char *manifest_digest,
                          bool *catalogued, struct error *error)
{
    static const struct statement find = {
        "described_find", "SELECT FROM image_refs"
                          " WHERE reference = $1 AND os = $2 AND architecture = $3 AND variant = $4"
                          "   AND manifest_digest = $5"};
    cleanup_arena struct arena arena = {0};
    struct rows rows;
    if (!QUERY(session, &find, &arena, &rows, error, reference, platform->os,
               platform->architecture, platform->variant, manifest_digest))
        return false;
    *catalogued = rows.count > 0;
    return true;
}

bool described_is_current(struct catalogue_session *session, struct blobdir *blobdir,
                          const char *reference, const struct platform *except, bool *current,
                          struct error *error)
{
    struct digest key = described_key(reference);
    struct platform platform;
    struct error why;
    cleanup_description struct description description = {0};
    cleanup_fd int fd = blob_open(blobdir, BLOB_MANIFEST, &key, &why);
    *current = false;
    if (fd < 0 || !description_read(fd, &description, &why) || !description.reference ||
        strcmp(description.reference, reference) != 0 ||
        !platform_parse(description.platform, &platform, &why) ||
        (except && platform_equal(&platform, except)))
        return true;
    return is_catalogued(session, reference, &platform, description.manifest_digest, current,
                         error);
}

/* --- from the catalogue's rows --- */

static bool find_documents(struct catalogue_session *session, struct arena *arena,
                           struct described_image *image, struct error *error)
{
    enum {
        OS,
        ARCHITECTURE,
        VARIANT,
        INDEX,
        MANIFEST,
        MEDIA_TYPE,
        MANIFEST_RAW,
        CONFIG,
        CONFIG_RAW
    };
    static const struct statement find = {
        "described_documents",
        "SELECT r.os, r.architecture, r.variant, r.index_digest, m.digest, m.media_type, m.raw,"
        "       c.digest, c.raw"
        "  FROM image_refs r JOIN manifests m ON m.digest = r.manifest_digest"
        "  JOIN configs c ON c.digest = m.config_digest"
        " WHERE r.reference = $1"
        " ORDER BY r.created_at, r.os, r.architecture, r.variant LIMIT 1"};
    struct rows rows;
    struct platform platform;
    if (!QUERY(session, &find, arena, &rows, error, image->reference))
        return false;
    if (rows.count == 0)
        return error_set(error, ERROR_INTERNAL, "%s went while it was described", image->reference);
    if (!platform_from_fields(rows_text(&rows, 0, OS), rows_text(&rows, 0, ARCHITECTURE),
                              rows_text(&rows, 0, VARIANT), &platform, error))
        return false;
    char *text = arena_alloc(arena, PLATFORM_TEXT_SIZE);
    platform_format(&platform, text);
    image->platform = text;
    image->index_digest = rows_text(&rows, 0, INDEX);
    image->manifest_digest = rows_text(&rows, 0, MANIFEST);
    image->manifest_media_type = rows_text(&rows, 0, MEDIA_TYPE);
    image->manifest = rows_bytes(&rows, 0, MANIFEST_RAW, arena, &image->manifest_size_bytes);
    image->config_digest = rows_text(&rows, 0, CONFIG);
    image->config = rows_bytes(&rows, 0, CONFIG_RAW, arena, &image->config_size_bytes);
    return true;
}

static bool is_among(const struct description_layer *files, size_t count,
                     const struct digest *diff_id)
{
    for (size_t i = 0; i < count; i++)
        if (digest_equal(&files[i].diff_id, diff_id))
            return true;
    return false;
}

static bool find_layers(struct catalogue_session *session, struct arena *arena,
                        struct described_image *image, struct error *error)
{
    enum { BLOB, MEDIA_TYPE, SIZE, DIFF_ID, EROFS_SIZE, EROFS_DIGEST, TAR_SIZE };
    static const struct statement find = {
        "described_layers",
        "SELECT ml.blob_digest, ml.media_type, ml.compressed_size_bytes, l.diff_id,"
        "       l.erofs_size_bytes, l.erofs_digest, l.tar_size_bytes"
        "  FROM manifest_layers ml JOIN layers l ON l.diff_id = ml.diff_id"
        " WHERE ml.manifest_digest = $1 ORDER BY ml.position"};
    struct rows rows;
    if (!QUERY(session, &find, arena, &rows, error, image->manifest_digest))
        return false;
    struct described_layer *layers = arena_alloc_array(arena, rows.count, sizeof(*layers));
    struct description_layer *files = arena_alloc_array(arena, rows.count, sizeof(*files));
    for (size_t row = 0; row < rows.count; row++) {
        layers[row] = (struct described_layer){
            .blob_digest = rows_text(&rows, row, BLOB),
            .media_type = rows_text(&rows, row, MEDIA_TYPE),
            .size_bytes = rows_int(&rows, row, SIZE),
            .diff_id = rows_text(&rows, row, DIFF_ID),
        };
        struct description_layer file = {.erofs_size_bytes = rows_int(&rows, row, EROFS_SIZE),
                                         .tar_size_bytes = rows_int(&rows, row, TAR_SIZE)};
        if (!digest_parse(layers[row].diff_id, &file.diff_id) ||
            !digest_parse(rows_text(&rows, row, EROFS_DIGEST), &file.erofs_digest))
            abort(); /* the columns' type admits nothing else */
        if (!is_among(files, image->file_count, &file.diff_id))
            files[image->file_count++] = file;
    }
    image->layers = layers;
    image->layer_count = rows.count;
    image->files = files;
    return true;
}

/* To write and to fsync took a while: the row may be another's, and a pull may have published. */
static bool check_lock(struct catalogue_session *session, struct error *error)
{
    return session_is_open(session) ||
           error_set(error, ERROR_CATALOGUE_UNAVAILABLE,
                     "the connection to PostgreSQL that kept the row of a description was lost");
}

static bool publish(struct catalogue_session *session, struct blobdir *blobdir,
                    const struct described_image *image, struct error *error)
{
    struct digest key = described_key(image->reference);
    cleanup_draft struct blob_draft *draft = blob_draft_new(blobdir, BLOB_MANIFEST, &key, error);
    return draft && description_write(image, blob_draft_fd(draft), error) &&
           blob_draft_sync(draft, error) && check_lock(session, error) &&
           blob_draft_publish(draft, error);
}

bool described_renew(struct catalogue_session *session, struct blobdir *blobdir,
                     const char *reference, struct error *error)
{
    cleanup_arena struct arena arena = {0};
    struct described_image image = {.reference = reference};
    bool current = false;
    if (!described_is_current(session, blobdir, reference, NULL, &current, error))
        return false;
    return current || (find_documents(session, &arena, &image, error) &&
                       find_layers(session, &arena, &image, error) &&
                       publish(session, blobdir, &image, error));
}
