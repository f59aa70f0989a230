#include "server/json_writer.h"

#include "server/plain_text.h"
#include "server/utf8.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_CAPACITY = 1024 };

void json_writer_free(struct json_writer *out)
{
    free(out->bytes);
    *out = (struct json_writer){0};
}

/* Room for `size` more bytes. */
static char *reserve(struct json_writer *out, size_t size)
{
    if (out->capacity_bytes - out->size_bytes < size) {
        size_t capacity = out->capacity_bytes ? out->capacity_bytes : FIRST_CAPACITY;
        while (capacity - out->size_bytes < size)
            if (__builtin_mul_overflow(capacity, (size_t)2, &capacity))
                abort();
        char *bytes = realloc(out->bytes, capacity);
        if (!bytes)
            abort();
        out->bytes = bytes;
        out->capacity_bytes = capacity;
    }
    return out->bytes + out->size_bytes;
}

void json_append(struct json_writer *out, const void *bytes, size_t size_bytes)
{
    if (size_bytes == 0)
        return;
    memcpy(reserve(out, size_bytes), bytes, size_bytes);
    out->size_bytes += size_bytes;
}

static void append_char(struct json_writer *out, char c)
{
    *reserve(out, 1) = c;
    out->size_bytes++;
}

static void append_escape(struct json_writer *out, unsigned char c)
{
    switch (c) {
    case '"':
        json_append(out, "\\\"", 2);
        return;
    case '\\':
        json_append(out, "\\\\", 2);
        return;
    case '\n':
        json_append(out, "\\n", 2);
        return;
    case '\t':
        json_append(out, "\\t", 2);
        return;
    default: {
        char text[8];
        snprintf(text, sizeof(text), "\\u%04x", c);
        json_append(out, text, 6);
    }
    }
}

static bool needs_no_escape(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Keys, and nearly all that is written. */
static void append_quoted_plain(struct json_writer *out, const char *text, size_t length)
{
    char *at = reserve(out, length + 2);
    *at++ = '"';
    memcpy(at, text, length);
    at[length] = '"';
    out->size_bytes += length + 2;
}

static void append_quoted(struct json_writer *out, const char *text)
{
    size_t length = strlen(text);
    if (text_is_plain(text, length)) {
        append_quoted_plain(out, text, length);
        return;
    }
    append_char(out, '"');
    for (size_t i = 0; i < length;) {
        size_t run = i;
        while (run < length && needs_no_escape((unsigned char)text[run]))
            run++;
        json_append(out, text + i, run - i);
        if ((i = run) == length)
            break;
        unsigned char c = (unsigned char)text[i];
        size_t sequence = c < 0x80 ? 0 : utf8_sequence_length(text + i, length - i);
        if (c < 0x80)
            append_escape(out, c);
        else if (sequence > 0)
            json_append(out, text + i, sequence);
        else
            json_append(out, "\xef\xbf\xbd", 3);
        i += sequence > 0 ? sequence : 1;
    }
    append_char(out, '"');
}

static void begin_value(struct json_writer *out, const char *key)
{
    if (out->after_value)
        append_char(out, ',');
    out->after_value = true;
    if (key) {
        append_quoted(out, key);
        append_char(out, ':');
    }
}

static void open_bracket(struct json_writer *out, const char *key, char bracket)
{
    begin_value(out, key);
    append_char(out, bracket);
    out->after_value = false;
}

static void close_bracket(struct json_writer *out, char bracket)
{
    append_char(out, bracket);
    out->after_value = true;
}

void json_begin_object(struct json_writer *out, const char *key)
{
    open_bracket(out, key, '{');
}

void json_end_object(struct json_writer *out)
{
    close_bracket(out, '}');
}

void json_begin_array(struct json_writer *out, const char *key)
{
    open_bracket(out, key, '[');
}

void json_end_array(struct json_writer *out)
{
    close_bracket(out, ']');
}

void json_write_text(struct json_writer *out, const char *key, const char *text)
{
    if (!text) {
        json_write_null(out, key);
        return;
    }
    begin_value(out, key);
    append_quoted(out, text);
}

void json_write_int(struct json_writer *out, const char *key, int64_t value)
{
    char text[24];
    char *end = text + sizeof(text);
    char *at = end;
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do
        *--at = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (value < 0)
        *--at = '-';
    begin_value(out, key);
    json_append(out, at, (size_t)(end - at));
}

void json_write_bool(struct json_writer *out, const char *key, bool value)
{
    json_write_raw(out, key, value ? "true" : "false");
}

void json_write_null(struct json_writer *out, const char *key)
{
    json_write_raw(out, key, "null");
}

void json_write_raw(struct json_writer *out, const char *key, const char *json)
{
    begin_value(out, key);
    if (!json)
        json = "null";
    json_append(out, json, strlen(json));
}
