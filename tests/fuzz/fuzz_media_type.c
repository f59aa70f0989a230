/* store/registry/media_type.h: a normalised type is bounded, has no blanks or parameters, and
 * normalising it again changes nothing; only a layer has a compression. */
#include "store/cleanup.h"
#include "store/registry/media_type.h"
#include "text_input.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    char once[MEDIA_TYPE_SIZE];
    char twice[MEDIA_TYPE_SIZE];
    enum layer_compression compression;
    struct error error;
    cleanup_free char *text = text_input(data, size_bytes);
    media_type_normalise(text, once);
    assert(strnlen(once, sizeof(once)) < sizeof(once) && !strpbrk(once, "; \t\r\n"));
    media_type_normalise(once, twice);
    assert(strcmp(once, twice) == 0);
    enum media_kind kind = media_type_kind(once);
    assert(media_type_compression(once, &compression, &error) == (kind == MEDIA_LAYER));
    return 0;
}
