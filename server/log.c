#include "server/log.h"

#include "server/json_writer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"info", "warning", "error"};
    return names[level];
}

static void format_time(char *text, size_t size)
{
    struct timespec now;
    struct tm broken;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &broken);
    size_t used = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &broken);
    snprintf(text + used, size - used, ".%03ldZ", now.tv_nsec / 1000000);
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

void log_write(const struct log *log, enum log_level level, const char *event,
               const struct log_field *fields, size_t field_count)
{
    char time[40];
    cleanup_json_writer struct json_writer line = {0};
    format_time(time, sizeof(time));
    if (log->format == LOG_JSON) {
        append_json(&line, time, level, event, fields, field_count);
    } else {
        append_text(&line, time);
        append_text(&line, " ");
        append_text(&line, level_name(level));
        append_text(&line, " ");
        append_text(&line, event);
        for (size_t i = 0; i < field_count; i++)
            append_field(&line, &fields[i]);
    }
    append_text(&line, "\n");
    /* A log that nobody takes must not stop the node. */
    if (write(log->fd, line.bytes, line.size_bytes) < 0)
        return;
}
