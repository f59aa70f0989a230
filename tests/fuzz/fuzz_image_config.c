/* store/registry/image_config.h: the detail of what parses is valid JSON with every
 * field. */
#include "store/registry/image_config.h"

#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    cleanup_arena struct arena arena = {0};
    struct image_config config;
    struct error error = {0};
    if (!image_config_parse(&arena, data, size_bytes, &config, &error)) {
        assert(error.code == ERROR_UNSUPPORTED_MANIFEST);
        return 0;
    }
    assert(image_config_check(&config, config.diff_id_count, &config.platform, &error));
    assert(!image_config_check(&config, config.diff_id_count + 1, NULL, &error));
    struct digest digest = digest_of(data, size_bytes);
    const char *text = image_config_detail_json(&arena, &config, &digest);
    json_t *detail = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert(detail && json_object_size(detail) == 8);
    assert(json_array_size(json_object_get(detail, "env")) == config.env.count);
    json_decref(detail);
    return 0;
}
