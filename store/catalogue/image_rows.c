#include "store/catalogue/image_rows.h"

#include <string.h>

void handle_read(const struct rows *rows, size_t row, size_t column, struct image_handle *handle)
{
    *handle = (struct image_handle){
        .reference = rows_text(rows, row, column),
        .manifest_digest = rows_text(rows, row, column + 1),
        .architecture = rows_text(rows, row, column + 2),
        .os = rows_text(rows, row, column + 3),
        .variant = rows_text(rows, row, column + 4),
        .layer_count = rows_int(rows, row, column + 5),
        .size_bytes = rows_int(rows, row, column + 6),
        .created_at_ms = rows_int(rows, row, column + 7),
        .last_used_at_ms = rows_int(rows, row, column + 8),
    };
}

static void layer_read(const struct rows *rows, size_t row, size_t column,
                       struct image_layer *layer)
{
    *layer = (struct image_layer){
        .diff_id = rows_text(rows, row, column),
        .blob_digest = rows_text(rows, row, column + 1),
        .media_type = rows_text(rows, row, column + 2),
        .compressed_size_bytes = rows_int(rows, row, column + 3),
        .erofs_size_bytes = rows_int(rows, row, column + 4),
        .position = rows_int(rows, row, column + 5),
    };
}

void detail_read(const struct rows *rows, size_t first_row, size_t row_count, size_t column,
                 struct arena *arena, struct image_detail *detail)
{
    const size_t layer_column = column + 3;
    bool has_layers = rows_text(rows, first_row, layer_column) != NULL;
    detail->fsmeta_size_bytes = rows_int(rows, first_row, column);
    detail->vmdk_size_bytes = rows_int(rows, first_row, column + 1);
    detail->config_json = rows_text(rows, first_row, column + 2);
    detail->layer_count = has_layers ? row_count : 0;
    detail->layers = arena_alloc_array(arena, detail->layer_count, sizeof(*detail->layers));
    for (size_t i = 0; i < detail->layer_count; i++)
        layer_read(rows, first_row + i, layer_column, &detail->layers[i]);
}

bool handle_rows_equal(const struct rows *rows, size_t one, size_t other)
{
    enum { KEY_COLUMNS = 5 }; /* reference, manifest, platform */
    for (size_t column = 0; column < KEY_COLUMNS; column++)
        if (strcmp(rows_text(rows, one, column), rows_text(rows, other, column)) != 0)
            return false;
    return true;
}

struct platform handle_platform(const struct image_handle *handle)
{
    struct platform platform = {0};
    struct error impossible; /* it was checked before it was catalogued */
    (void)!platform_from_fields(handle->os, handle->architecture, handle->variant, &platform,
                                &impossible);
    return platform;
}
