/* JSON text, appended straight to one growing buffer, which becomes the body of
 * an answer without a copy.
 *
 *     struct json_writer out = {0};
 *     json_begin_object(&out, NULL);
 *     json_write_text(&out, "reference", image->reference);
 *     json_end_object(&out);
 *
 * `key` is NULL inside arrays and at the top. Text need not be UTF-8: what is not
 * becomes U+FFFD. Aborts when out of memory. One thread at a time.
 */
#ifndef LARDER_SERVER_JSON_WRITER_H
#define LARDER_SERVER_JSON_WRITER_H

#include "store/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_writer {
    char *bytes; /* owned; not NUL-terminated */
    size_t size_bytes;
    size_t capacity_bytes;
    bool after_value; /* the next one needs a comma */
};

void json_writer_free(struct json_writer *out);
#define cleanup_json_writer cleanup(json_writer_free)

void json_begin_object(struct json_writer *out, const char *key);
void json_end_object(struct json_writer *out);
void json_begin_array(struct json_writer *out, const char *key);
void json_end_array(struct json_writer *out);

void json_write_text(struct json_writer *out, const char *key, const char *text); /* NULL: null */
void json_write_int(struct json_writer *out, const char *key, int64_t value);
void json_write_bool(struct json_writer *out, const char *key, bool value);
void json_write_null(struct json_writer *out, const char *key);
/* A finished JSON value, written as it is; NULL is null. */
void json_write_raw(struct json_writer *out, const char *key, const char *json);

/* Bytes outside of any value: a newline after it. */
void json_append(struct json_writer *out, const void *bytes, size_t size_bytes);

#endif
