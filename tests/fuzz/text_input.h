/* The input as a C string of its own: as long as the bytes up to the first NUL, so that a read
 * past its end is seen. (strndup() wants a terminated source under strict_string_checks.) */
#ifndef LARDER_TESTS_FUZZ_TEXT_INPUT_H
#define LARDER_TESTS_FUZZ_TEXT_INPUT_H

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The caller frees it. */
static inline char *text_input(const uint8_t *data, size_t size_bytes)
{
    size_t length = strnlen((const char *)data, size_bytes);
    char *text = calloc(length + 1, 1);
    assert(text);
    memcpy(text, data, length);
    return text;
}

#endif
