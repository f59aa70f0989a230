#include "server/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

Test(log, a_line_is_stamped_with_the_time_to_the_millisecond)
{
    struct log log = {.fd = -1, .format = LOG_TEXT};
    for (int round = 0; round < 2; round++) {
        cleanup_json_writer struct json_writer lines = {0};
        char wanted[32];
        time_t before = time(NULL);
        LOG_APPEND(&log, &lines, LOG_INFO, "event", FIELD_INT("n", -12));
        time_t after = time(NULL);
        json_append(&lines, "", 1);
        struct tm broken;
        strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%S.", gmtime_r(&before, &broken));
        cr_expect(after != before || strncmp(lines.bytes, wanted, strlen(wanted)) == 0,
                  "%s is not of %s", lines.bytes, wanted);
        cr_expect_str_eq(lines.bytes + 23, "Z info event n=-12\n");
        cr_expect_eq(strspn(lines.bytes + 20, "0123456789"), 3);
        struct timespec until_the_next = {.tv_sec = 1};
        nanosleep(&until_the_next, NULL);
    }
}

Test(log, numbers_of_any_size_are_written)
{
    struct log log = {.fd = -1, .format = LOG_JSON};
    cleanup_json_writer struct json_writer lines = {0};
    LOG_APPEND(&log, &lines, LOG_ERROR, "e", FIELD_INT("a", INT64_MIN), FIELD_INT("b", INT64_MAX),
               FIELD_INT("c", 0));
    json_append(&lines, "", 1);
    cr_expect(
        strstr(lines.bytes, "\"a\":-9223372036854775808,\"b\":9223372036854775807,\"c\":0}\n"),
        "%s", lines.bytes);
}

Test(log, what_a_terminal_obeys_is_escaped_also_where_json_lets_it_through)
{
    static const struct {
        const char *text;
        const char *written;
    } cases[] = {
        {"\x1b[2J", "\"\\u001b[2J\""},
        {"a\x7f", "\"a\\u007f\""},
        {"\xc2\x9b"
         "2J",
         "\"\\u009b2J\""},
        {"\xc2\x80\xc2\x9f", "\"\\u0080\\u009f\""},
        {"a\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xae", "\"a\\u2028\\u2029\\u202e\""},
        {"\xe2\x81\xa6"
         "a\xe2\x81\xa9",
         "\"\\u2066a\\u2069\""},
        {"\xe2\x81\xa5\xe2\x81\xaa\xe2\x81\xa8", "\"\xe2\x81\xa5\xe2\x81\xaa\\u2068\""},
        {"\xc2\xa0\xc3\x9b\xe2\x80\xa7\xe2\x80\xaf\xe2\x82\xac",
         "\"\xc2\xa0\xc3\x9b\xe2\x80\xa7\xe2\x80\xaf\xe2\x82\xac\""},
        {"\xf0\x9f\x82\x9b", "\"\xf0\x9f\x82\x9b\""},
        {"\xc2", "\"\xef\xbf\xbd\""}, /* cut off */
    };
    for (enum log_format format = LOG_TEXT; format <= LOG_JSON; format++) {
        struct log log = {.fd = -1, .format = format};
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            cleanup_json_writer struct json_writer lines = {0};
            char wanted[128];
            LOG_APPEND(&log, &lines, LOG_INFO, "e", FIELD_TEXT("a", "first"));
            const size_t first_line = lines.size_bytes;
            LOG_APPEND(&log, &lines, LOG_INFO, "e", FIELD_TEXT("path", cases[i].text));
            json_append(&lines, "", 1);
            snprintf(wanted, sizeof(wanted), format == LOG_TEXT ? "path=%s\n" : "\"path\":%s}\n",
                     cases[i].written);
            cr_expect(strstr(lines.bytes + first_line, wanted), "%s ends in %s",
                      lines.bytes + first_line, wanted);
        }
    }
}
