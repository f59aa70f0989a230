/* Reading images and layers out of rows: what images.c, image_find.c and sandboxes.c
 * share. */
#ifndef LARDER_STORE_CATALOGUE_IMAGE_ROWS_H
#define LARDER_STORE_CATALOGUE_IMAGE_ROWS_H

#include "store/catalogue/images.h"

/* Of image_refs r and manifests m. */
#define HANDLE_COLUMNS                                                                             \
    "r.reference, m.digest, m.architecture, m.os, m.variant, m.layer_count, m.size_bytes,"         \
    " epoch_ms(r.created_at), epoch_ms(r.last_used_at)"
enum { HANDLE_COLUMN_COUNT = 9 };

/* Whether a use of the image in that row of image_refs is to be written: once a minute at most, and
 * by one of those who use it at once. So the row is locked FOR NO KEY UPDATE SKIP LOCKED: the
 * others see that somebody is at it, and do not wait. The age of the last use is compared in a form
 * that no index serves: PostgreSQL would prefer the index of last uses when its statistics say that
 * few are that old, and read all that are. */
#define IS_USE_DUE " last_used_at + interval '1 minute' < now()"

/* Of manifests m, configs c and manifest_layers ml with layers l, all LEFT JOINed: a
 * row a layer, bottom to top, the config with the first only. */
#define DETAIL_COLUMNS                                                                             \
    "m.fsmeta_size_bytes, m.vmdk_size_bytes,"                                                      \
    " CASE WHEN coalesce(ml.position, 0) = 0 THEN c.detail END,"                                   \
    " ml.diff_id, ml.blob_digest, ml.media_type, ml.compressed_size_bytes, l.erofs_size_bytes,"    \
    " ml.position"
enum { DETAIL_COLUMN_COUNT = 9 };
#define DETAIL_JOINS                                                                               \
    "  JOIN configs c ON c.digest = m.config_digest"                                               \
    "  LEFT JOIN manifest_layers ml ON ml.manifest_digest = m.digest"                              \
    "  LEFT JOIN layers l ON l.diff_id = ml.diff_id"

/* What to say when a check of the table of sandboxes fails. */
extern const char sandbox_check_violated[];

/* HANDLE_COLUMNS from `column` on. */
void handle_read(const struct rows *rows, size_t row, size_t column, struct image_handle *handle);

/* DETAIL_COLUMNS from `column` on, of the given rows; all but the handle. */
void detail_read(const struct rows *rows, size_t first_row, size_t row_count, size_t column,
                 struct arena *arena, struct image_detail *detail);

/* Whether both rows are of one image; HANDLE_COLUMNS come first. */
[[nodiscard]] bool handle_rows_equal(const struct rows *rows, size_t one, size_t other);

/* The platform of such a row. */
[[nodiscard]] struct platform handle_platform(const struct image_handle *handle);

/* As catalogue_inspect_image(), on a session. */
[[nodiscard]] bool image_inspect(struct catalogue_session *session,
                                 const struct reference *reference,
                                 const struct platform_choice *choice, struct arena *arena,
                                 struct image_detail *detail, struct error *error);

#endif
