/* The image config: what the image is for and how it starts (OCI image spec,
 * config.md; Docker's container.image.v1 has the same members).
 *
 * Hostile input, bounded like manifests. Results live in the caller's arena.
 * Knows nothing of sockets. Any thread.
 */
#ifndef LARDER_STORE_REGISTRY_IMAGE_CONFIG_H
#define LARDER_STORE_REGISTRY_IMAGE_CONFIG_H

#include "store/arena.h"
#include "store/digest.h"
#include "store/error.h"
#include "store/platform.h"

#include <stdbool.h>
#include <stddef.h>

/* An array of strings that may be absent, which is not the same as empty. */
struct string_list {
    bool is_given;
    const char **items;
    size_t count;
};

struct label {
    const char *key;
    const char *value;
};

struct image_config {
    struct platform platform;
    bool variant_is_given; /* else the variant is what the architecture means anyway */
    struct digest *diff_ids;
    size_t diff_id_count;
    struct string_list env;
    struct string_list cmd;
    struct string_list entrypoint;
    const char *working_dir; /* NULL when absent or empty, as the next two */
    const char *user;
    const char *stop_signal;
    bool labels_are_given;
    struct label *labels;
    size_t label_count;
};

/* Fails with ERROR_UNSUPPORTED_MANIFEST. */
[[nodiscard]] bool image_config_parse(struct arena *arena, const void *bytes, size_t size,
                                      struct image_config *config, struct error *error);

/* Does the config fit what led to it: one diff_id for each of the manifest's layers,
 * and the platform that the index gave (NULL when there was none)? Fails with
 * ERROR_UNSUPPORTED_MANIFEST. */
[[nodiscard]] bool image_config_check(const struct image_config *config, size_t layer_count,
                                      const struct platform *platform, struct error *error);

/* The image's platform: its config's, with the variant that the index gave (NULL when
 * there was none) where the config leaves that out. */
[[nodiscard]] struct platform image_config_platform(const struct image_config *config,
                                                    const struct platform *indexed);

/* The ImageConfigDetail of the HTTP interface as JSON text in the arena:
 * digest, env, cmd, entrypoint, working_dir, user, labels, stop_signal. */
[[nodiscard]] const char *image_config_detail_json(struct arena *arena,
                                                   const struct image_config *config,
                                                   const struct digest *config_digest);

#endif
