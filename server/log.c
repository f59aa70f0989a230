#include "server/log.h"

#include "server/json_writer.h"
#include "server/log_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"info", "warning", "error"};
    return names[level];
}

enum { TIME_SIZE = sizeof("2026-01-01T00:00:00.000Z") };

/* The seconds are only made anew when there are new ones. */
static void format_time(char text[TIME_SIZE])
{
    static _Thread_local time_t second = -1;
    static _Thread_local char seconds_text[sizeof("2026-01-01T00:00:00")];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != second) {
        struct tm broken;
        gmtime_r(&now.tv_sec, &broken);
        strftime(seconds_text, sizeof(seconds_text), "%Y-%m-%dT%H:%M:%S", &broken);
        second = now.tv_sec;
    }
    unsigned ms = (unsigned)(now.tv_nsec / 1000000);
    memcpy(text, seconds_text, sizeof(seconds_text) - 1);
    char *at = text + sizeof(seconds_text) - 1;
    *at++ = '.';
    *at++ = (char)('0' + ms / 100);
    *at++ = (char)('0' + ms / 10 % 10);
    *at++ = (char)('0' + ms % 10);
    *at++ = 'Z';
    *at = '\0';
}

static void append_json(struct json_writer *line, const char *time, enum log_level level,
                        const char *event, const struct log_field *fields, size_t field_count)
{
    json_begin_object(line, NULL);
    json_write_text(line, "time", time);
    json_write_text(line, "level", level_name(level));
    json_write_text(line, "event", event);
    for (size_t i = 0; i < field_count; i++) {
        if (fields[i].is_number)
            json_write_int(line, fields[i].name, fields[i].number);
        else
            json_write_text(line, fields[i].name, fields[i].text);
    }
    json_end_object(line);
}

static void append_text(struct json_writer *line, const char *text)
{
    json_append(line, text, strlen(text));
}

static bool is_plain(const char *text)
{
    for (const char *at = text; *at; at++)
        if (*at <= ' ' || *at > '~' || *at == '"')
            return false;
    return *text != '\0';
}

static void append_field(struct json_writer *line, const struct log_field *field)
{
    if (!field->is_number && !field->text)
        return;
    append_text(line, " ");
    append_text(line, field->name);
    append_text(line, "=");
    line->after_value = false;
    if (field->is_number)
        json_write_int(line, NULL, field->number);
    else if (is_plain(field->text))
        append_text(line, field->text);
    else
        json_write_text(line, NULL, field->text);
}

/* The bytes of a code point here that a terminal obeys, or that ends or turns a line for who
 * reads it, and that JSON lets through: U+0080 to U+009F (C2 80 to C2 9F), U+2028 to U+202E
 * (E2 80 A8 to E2 80 AE), and U+2066 to U+2069 (E2 81 A6 to E2 81 A9). 0: it is none. */
static size_t hidden_control_length(const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes;
    if (size >= 2 && at[0] == 0xc2 && at[1] < 0xa0)
        return 2;
    if (size < 3 || at[0] != 0xe2)
        return 0;
    bool turns = (at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) ||
                 (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9);
    return turns ? 3 : 0;
}

/* All that is not ASCII is quoted, as JSON quotes. */
static void escape_hidden_controls(struct json_writer *lines, size_t start)
{
    cleanup_json_writer struct json_writer line = {0};
    const size_t size = lines->size_bytes - start;
    if (!memchr(lines->bytes + start, 0xc2, size) && !memchr(lines->bytes + start, 0xe2, size))
        return;
    json_append(&line, lines->bytes + start, size);
    lines->size_bytes = start;
    for (size_t i = 0; i < size; i++) {
        const unsigned char *at = (const unsigned char *)line.bytes + i;
        size_t length = hidden_control_length(line.bytes + i, size - i);
        char text[8];
        if (length == 0) {
            json_append(lines, at, 1);
            continue;
        }
        snprintf(text, sizeof(text), "\\u%04x",
                 length == 2 ? at[1] : 0x2000 | (at[1] & 0x3f) << 6 | (at[2] & 0x3f));
        json_append(lines, text, 6);
        i += length - 1;
    }
}

void log_append(const struct log *log, struct json_writer *lines, enum log_level level,
                const char *event, const struct log_field *fields, size_t field_count)
{
    const size_t start = lines->size_bytes;
    char time[TIME_SIZE];
    format_time(time);
    lines->after_value = false;
    if (log->format == LOG_JSON) {
        append_json(lines, time, level, event, fields, field_count);
    } else {
        append_text(lines, time);
        append_text(lines, " ");
        append_text(lines, level_name(level));
        append_text(lines, " ");
        append_text(lines, event);
        for (size_t i = 0; i < field_count; i++)
            append_field(lines, &fields[i]);
    }
    escape_hidden_controls(lines, start);
    append_text(lines, "\n");
}

void log_write_lines(const struct log *log, enum metric_log kind, struct json_writer *lines)
{
    if (log->writer) {
        log_writer_take(log->writer, kind, lines);
        return;
    }
    /* A log that nobody takes any more must not stop the node. */
    ssize_t ignored = write(log->fd, lines->bytes, lines->size_bytes);
    (void)ignored;
    lines->size_bytes = 0;
}

void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields, size_t field_count)
{
    cleanup_json_writer struct json_writer line = {0};
    log_append(log, &line, level, event, fields, field_count);
    log_write_lines(log, LOG_OF_EVENT, &line);
}
