#include "store/catalogue/catalogue.h"
#include "store/embedded.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(parameters, an_array_literal_quotes_what_postgresql_would_read_otherwise)
{
    static const struct {
        const char *texts[3];
        size_t count;
        const char *literal;
    } rows[] = {
        {{0}, 0, "{}"},
        {{"a"}, 1, "{\"a\"}"},
        {{"a,b", "{c}", ""}, 3, "{\"a,b\",\"{c}\",\"\"}"},
        {{"quote\"", "back\\slash", "NULL"}, 3, "{\"quote\\\"\",\"back\\\\slash\",\"NULL\"}"},
    };
    cleanup_arena struct arena arena = {0};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *literal = parameter_text_array(&arena, rows[i].texts, rows[i].count);
        cr_expect_str_eq(literal, rows[i].literal, "%s is what is sent, not %s", rows[i].literal,
                         literal);
    }
}

Test(parameters, bytes_survive_as_hex)
{
    cleanup_arena struct arena arena = {0};
    const char *text = parameter_bytes(&arena, "\x00\x7f\xff", 3);
    cr_assert_str_eq(text, "\\x007fff", "PostgreSQL's hex form of a bytea");
    const struct rows rows = {.count = 1, .column_count = 1, .values = &text};
    size_t size_bytes = 0;
    const void *bytes = rows_bytes(&rows, 0, 0, &arena, &size_bytes);
    cr_assert_eq(size_bytes, 3, "three bytes went in");
    cr_assert_arr_eq(bytes, "\x00\x7f\xff", 3, "and came out the same");
    cr_assert_str_eq(parameter_bytes(&arena, "", 0), "\\x", "no bytes are an empty bytea");
}

Test(parameters, numbers_keep_their_range)
{
    cleanup_arena struct arena arena = {0};
    const char *const values[] = {parameter_int(&arena, INT64_MIN),
                                  parameter_int(&arena, INT64_MAX), "t", "f"};
    const struct rows rows = {.count = 1, .column_count = 4, .values = values};
    cr_expect_eq(rows_int(&rows, 0, 0), INT64_MIN, "the least number survives text and back");
    cr_expect_eq(rows_int(&rows, 0, 1), INT64_MAX, "and so does the greatest");
    cr_expect(rows_bool(&rows, 0, 2), "t is true");
    cr_expect_not(rows_bool(&rows, 0, 3), "f is false");
}

Test(migrations, their_numbers_have_no_gaps)
{
    long expected = 1;
    for (const struct embedded_file *file = embedded_migrations; file->name; file++, expected++)
        cr_expect_eq(strtol(file->name, NULL, 10), expected, "%s has number %ld", file->name,
                     expected);
    cr_assert_gt(expected, 1, "the binary holds at least one migration");
}
