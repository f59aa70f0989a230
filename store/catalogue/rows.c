/* Values of rows and parameters, between PostgreSQL's text and C. */
#include "store/catalogue/catalogue.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *rows_text(const struct rows *rows, size_t row, size_t column)
{
    assert(row < rows->count && column < rows->column_count);
    return rows->values[row * rows->column_count + column];
}

int64_t rows_int(const struct rows *rows, size_t row, size_t column)
{
    const char *text = rows_text(rows, row, column);
    assert(text);
    char *end = NULL;
    long long value = strtoll(text, &end, 10);
    assert(end != text && *end == '\0');
    return value;
}

bool rows_bool(const struct rows *rows, size_t row, size_t column)
{
    const char *text = rows_text(rows, row, column);
    assert(text && (strcmp(text, "t") == 0 || strcmp(text, "f") == 0));
    return text[0] == 't';
}

static unsigned hex_value(char digit)
{
    return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

const void *rows_bytes(const struct rows *rows, size_t row, size_t column, struct arena *arena,
                       size_t *size_bytes)
{
    const char *text = rows_text(rows, row, column);
    assert(text && strncmp(text, "\\x", 2) == 0); /* bytea_output, set on every connection */
    const char *hex = text + 2;
    size_t size = strlen(hex) / 2;
    unsigned char *bytes = arena_alloc(arena, size + 1);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    *size_bytes = size;
    return bytes;
}

const char *parameter_int(struct arena *arena, int64_t value)
{
    return arena_printf(arena, "%" PRId64, value);
}

const char *parameter_bool(bool value)
{
    return value ? "true" : "false";
}

const char *parameter_bytes(struct arena *arena, const void *bytes, size_t size_bytes)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    char *text = arena_alloc_array(arena, size_bytes + 2, 2); /* "\x", hex, NUL */
    text[0] = '\\';
    text[1] = 'x';
    for (size_t i = 0; i < size_bytes; i++) {
        text[2 + 2 * i] = digits[in[i] >> 4];
        text[3 + 2 * i] = digits[in[i] & 15];
    }
    return text;
}

static size_t quoted_size(const char *text)
{
    if (!text)
        return sizeof("NULL,");
    size_t size = 3; /* quotes and a comma */
    for (; *text; text++)
        size += *text == '"' || *text == '\\' ? 2 : 1;
    return size;
}

static char *append_quoted(char *out, const char *text)
{
    if (!text)
        return stpcpy(out, "NULL");
    *out++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *out++ = '\\';
        *out++ = *text;
    }
    *out++ = '"';
    return out;
}

const char *parameter_text_array(struct arena *arena, const char *const *texts, size_t count)
{
    size_t size = 3; /* braces and NUL */
    for (size_t i = 0; i < count; i++)
        size += quoted_size(texts[i]);
    char *literal = arena_alloc(arena, size);
    char *out = literal;
    *out++ = '{';
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *out++ = ',';
        out = append_quoted(out, texts[i]);
    }
    *out++ = '}';
    return literal;
}
