/* store/reference.h: what parses has one canonical form, which parses to the same. */
#include "store/reference.h"
#include "text_input.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
    struct reference first;
    struct reference second;
    struct error error = {0};
    char canonical[REFERENCE_TEXT_SIZE];
    cleanup_free char *text = text_input(data, size_bytes);
    if (!reference_parse(text, &first, &error)) {
        assert(error.code == ERROR_INVALID_REFERENCE);
        return 0;
    }
    reference_format(&first, canonical);
    assert(reference_parse(canonical, &second, &error));
    assert(reference_equal(&first, &second));
    assert(first.tag[0] || first.digest[0]);
    assert(!strstr(first.repository, "..") && first.repository[0] != '/');
    return 0;
}
