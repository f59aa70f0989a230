#include "server/log.h"

#include <criterion/criterion.h>
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
