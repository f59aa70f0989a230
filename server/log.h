/* The node's log: one line for each request and each step of a pull, on stderr,
 * as text or as JSON. A serving node's lines are written by a thread of its own (log_writer.h), so
 * that nobody waits for whoever reads them; before that runs, and in other commands, a line is one
 * write(2). Lines of several threads never mix. Credentials and query strings are never given to
 * it; what a terminal would obey in what others sent is escaped. Any thread.
 */
#ifndef LARDER_SERVER_LOG_H
#define LARDER_SERVER_LOG_H

#include "server/json_writer.h"
#include "store/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_format { LOG_TEXT, LOG_JSON };
enum log_level { LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log_writer;

struct log {
    int fd;
    enum log_format format;
    struct log_writer *writer; /* NULL: who has a line writes it */
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
/* Lines that were appended; leaves the buffer empty. */
void log_write_lines(const struct log *log, enum metric_log kind, struct json_writer *lines);
/* A line about an event. */
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
