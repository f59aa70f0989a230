/* The node's log: one line for each request and each step of a pull, on stderr,
 * as text or as JSON. A line is one write(2), so lines of several threads never
 * mix; those of requests are gathered (log_writer.h). Credentials and query strings are never given
 * to it. Any thread.
 */
#ifndef LARDER_SERVER_LOG_H
#define LARDER_SERVER_LOG_H

#include "server/json_writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_format { LOG_TEXT, LOG_JSON };
enum log_level { LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log {
    int fd;
    enum log_format format;
};

/* A field is text, or a number when the text is NULL and `is_number`. NULL text is
 * left out of a text line and null in JSON. */
struct log_field {
    const char *name;
    const char *text;
    bool is_number;
    int64_t number;
};

/* The line alone, behind what is in the buffer. */
void log_append(const struct log *log, struct json_writer *lines, enum log_level level,
                const char *event, const struct log_field *fields, size_t field_count);
/* Lines that were appended, at once. */
void log_write_lines(const struct log *log, const struct json_writer *lines);
void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields, size_t field_count);

/* LOG(log, LOG_INFO, "pull done", FIELD_TEXT("id", id), FIELD_INT("bytes", n)) */
#define LOG(log, level, event, ...)                                                                \
    log_write((log), (level), (event), (const struct log_field[]){__VA_ARGS__},                    \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
#define LOG_APPEND(log, lines, level, event, ...)                                                  \
    log_append((log), (lines), (level), (event), (const struct log_field[]){__VA_ARGS__},          \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
#define FIELD_TEXT(field_name, value) {.name = (field_name), .text = (value)}
#define FIELD_INT(field_name, value)  {.name = (field_name), .is_number = true, .number = (value)}

#endif
