/* The interface's shapes as JSON (design: "Shapes"): every field always present,
 * unknown is null. */
#ifndef LARDER_SERVER_SHAPES_H
#define LARDER_SERVER_SHAPES_H

#include "server/json_writer.h"
#include "store/catalogue/holders.h"
#include "store/catalogue/images.h"
#include "store/catalogue/pulls.h"
#include "store/catalogue/removal.h"

void shape_image_handle(struct json_writer *out, const char *key,
                        const struct image_handle *handle);
void shape_image_detail(struct json_writer *out, const char *key,
                        const struct image_detail *detail);
/* All of it but the handle, into the object that is open. */
void shape_image_parts(struct json_writer *out, const struct image_detail *detail);
/* All of it but the image and its end. */
void shape_sandbox_begin(struct json_writer *out, const char *key, const struct sandbox *sandbox);
void shape_sandbox(struct json_writer *out, const char *key, const struct sandbox *sandbox);
void shape_snapshot(struct json_writer *out, const char *key, const struct snapshot *snapshot);
void shape_pin(struct json_writer *out, const char *key, const struct pin *pin);
/* `image` is NULL unless the pull is done. */
void shape_pull(struct json_writer *out, const char *key, const struct pull *pull,
                const struct image_handle *image);
/* ImagePruneReport: of a dry run, and of a prune, `reaped` being NULL when it is unknown. */
void shape_prune_estimate(struct json_writer *out, const struct removal *removal);
void shape_prune_report(struct json_writer *out, const struct removal *removal,
                        const struct reaped *reaped);

#endif
